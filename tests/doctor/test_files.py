"""Candidates out of files."""

import pytest

from eyeline import EyelineError
from eyeline.doctor.files import check_file, load_candidate

GOOD = """
import torch, helper

def attention(q, k, v):
    return torch.softmax(q @ k.mT / helper.root(q.size(-1)), -1) @ v
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "helper.py").write_text("def root(n): return n ** 0.5")
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "broken.py").write_text("x = 1\nprint(unknown)\n")
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "typo.py").write_text("def f(:\n")
    return tmp_path


def test_a_function_of_a_file_that_imports_its_neighbour(folder):
    assert check_file(f"{folder / 'good.py'}:attention").ok
    assert not check_file(f"{folder / 'good.py'}:attention", causal="yes").ok


@pytest.mark.parametrize(
    "target, words",
    [
        ("good.py", "expected FILE.py:NAME"),
        ("good.txt:attention", "expected FILE.py:NAME"),
        ("none.py:attention", "there is no file"),
        ("good.py:atention", "defines no atention; it defines attention"),
        ("broken.py:f", r"NameError.*\(line 2\)"),
        ("ends.py:f", r"ends the program \(exit 3\)"),
        ("typo.py:f", r"SyntaxError.*\(line 1\)"),
    ],
)
def test_what_is_wrong_with_a_file(folder, target, words):
    with pytest.raises(EyelineError, match=words):
        load_candidate(str(folder / target))


def test_an_unknown_word_for_causal(folder):
    with pytest.raises(EyelineError, match="--causal maybe"):
        check_file(f"{folder / 'good.py'}:attention", causal="maybe")
