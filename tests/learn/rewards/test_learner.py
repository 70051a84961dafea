"""The learner's functions, called from here."""

import pytest
import torch

from eyeline.learn.rewards.learner import Learner, RewardFailed
from eyeline.learn.sandbox import Sandbox


def test_calls_and_several_at_once(box):
    learner = Learner(box)
    box.load("def add(x, y=0): return x + y", "add.py")
    x = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(learner("add", x, 2), x + 2)
    assert learner.many("add", [(1, 2), (3,)]) == [3, 3]
    twice = learner.tensors("add", [(x, x), (x, 0)], (2, 3))
    assert torch.equal(twice[0], 2 * x) and torch.equal(twice[1], x)


def test_numbers_come_back_in_the_type_they_went_in(box):
    learner = Learner(box)
    box.load("def wider(x): return x.double()\ndef first(x): return x.argmax()", "types.py")
    assert learner.tensor("wider", torch.ones(3), shape=(3,)).dtype == torch.float32
    assert learner.tensor("first", torch.ones(3), shape=()).dtype == torch.int64


def test_what_comes_back_is_believed_nothing(box):
    learner = Learner(box)
    box.load(
        "def shape(x): return x[:1]\ndef error(x): return 1 / 0\ndef text(x): return 'x'\n"
        "def end(x):\n    import os; os._exit(0)",
        "bad.py",
    )
    x = torch.ones(2, 3)
    for function, words in (("shape", "gave"), ("text", "gave str"), ("error", "ZeroDivision")):
        with pytest.raises(RewardFailed, match=words):
            learner.tensor(function, x, shape=(2, 3))
    with Sandbox() as other:
        other.load("def end(x):\n    import os; os._exit(0)", "bad.py")
        with pytest.raises(RewardFailed, match="was stopped"):
            Learner(other)("end", x)
