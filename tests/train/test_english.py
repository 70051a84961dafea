"""Texts are read out of packages that are never run."""

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from eyeline import EyelineError
from eyeline.models.tokenizer import TextTokenizer
from eyeline.train.english import read_bible, read_glosses, tokens_of


def test_chapters_of_a_module_that_is_not_run(tmp_path):
    text = "In the beginning. And the earth. Now these."
    module = tmp_path / "bible.py"
    module.write_text(
        "raise SystemExit('it was run')\n"
        f"bible = Bible('x', {text!r}, {{1001001: 0, 1001002: 18, 2001001: 33}}, "
        "{1001001: 17, 1001002: 32, 2001001: 43}, True)\n"
    )
    assert read_bible(module) == {1001: "In the beginning. And the earth.", 2001: "Now these."}


def test_another_module_is_refused(tmp_path):
    (tmp_path / "other.py").write_text("x = 1\n")
    with pytest.raises(EyelineError, match="not a module of pythonbible"):
        read_bible(tmp_path / "other.py")


def test_glosses_without_the_licence(tmp_path):
    path = tmp_path / "data.noun"
    path.write_text(
        "  1 This software and database is being provided | to you\n"
        '00001740 03 n 02 entity 0 some_thing(a) 0 000 | that which exists; "it is"  \n'
    )
    assert list(read_glosses(path)) == ['entity, some thing: that which exists; "it is"']


def test_every_text_ends():
    made = Tokenizer(models.WordLevel({"a": 1, "b": 2, "?": 3}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    found = tokens_of(["a b", "b"], TextTokenizer(made, {}), end=0)
    assert found.tolist() == [1, 2, 0, 2, 0] and found.dtype == np.uint16
