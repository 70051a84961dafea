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
