"""Which mistake is it: the exercise's own first, then the doctor's."""

import pytest

from eyeline.learn.judging import judge
from eyeline.learn.master import find

BODY = """
import math
import torch
from torch import Tensor

def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return {line}
"""


@pytest.fixture(scope="module")
def attention():
    return find("08_attention").exercise


@pytest.mark.parametrize(
    "line, name",
    [
        ("torch.softmax(torch.softmax(scores, -1), -1) @ value", "softmax twice"),
        ("torch.sigmoid(scores) @ value", "sigmoid instead of softmax"),
    ],
)
def test_the_doctor_names_what_the_exercise_does_not_list(attention, line, name, box):
    assert all(mistake.name != name for mistake in attention.mistakes)
    verdict = judge(attention, BODY.format(line=line), "mine.py", box)
    assert verdict.kind == "wrong" and verdict.mistake == name and verdict.question


def test_what_nobody_knows_has_no_name(attention, box):
    verdict = judge(attention, BODY.format(line="scores.sin() @ value"), "mine.py", box)
    assert verdict.kind == "wrong" and verdict.mistake is None


def test_right_is_right(attention, box):
    assert judge(attention, BODY.format(line="torch.softmax(scores, -1) @ value"), "m.py", box).ok


def test_the_doctor_is_told_the_layout_that_the_exercise_states(attention, box):
    """As `[batch, length, heads, width]` it would be right, and have no name."""
    body = """
import torch

def attention(query, key, value):
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return (scores.softmax(-1) @ value).transpose(1, 2)
"""
    verdict = judge(attention, body, "mine.py", box)
    assert verdict.mistake == "attention over the heads instead of the tokens"
    for number in ("08", "09", "12", "22"):
        assert find(number).exercise.examine["layout"] == "BHLD"
