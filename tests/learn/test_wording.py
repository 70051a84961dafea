"""Sentences a beginner understands, with the line and a question."""

import pytest

from eyeline.learn.sandbox import Limits, Reply
from eyeline.learn.wording import explain_error, explain_stop


@pytest.mark.parametrize(
    "told, sentence, question",
    [
        (
            {"type": "RuntimeError", "message": "mat1 and mat2 shapes cannot be multiplied"},
            "raised RuntimeError",
            "print(x.shape)",
        ),
        ({"type": "NameError", "message": "name 'torhc' is not defined"}, "NameError", "misspelt"),
        ({"type": "MemoryError", "message": ""}, "asked for more memory", "tiny"),
        ({"type": "SyntaxError", "message": "invalid"}, "cannot read your file", None),
        ({"type": "SystemExit", "message": "0"}, "left the program", "exit()"),
        ({"type": "OSError", "message": "Read-only file system"}, "not allowed here", "no files"),
        ({"type": "TypeError", "message": "f() takes 1 argument"}, "TypeError", "as they were"),
    ],
)
def test_what_was_raised(told, sentence, question):
    said, _, asked = explain_error(told)
    assert sentence in said and (asked is None if question is None else question in asked)


def test_the_line_is_shown():
    said, evidence, _ = explain_error(
        {"type": "ValueError", "message": "no", "number": 7, "line": "x = 1"}
    )
    assert "in line 7" in said and evidence == ("line 7:  x = 1",)


@pytest.mark.parametrize("stopped", ["time", "printed", "answer", "ended", "else"])
def test_every_way_to_be_stopped_has_a_sentence_and_a_question(stopped):
    sentence, question = explain_stop(Reply(None, stopped, "", None, 0.1), Limits())
    assert sentence.endswith(".") and "?" in question
