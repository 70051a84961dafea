"""Probes can be made again; numbers do not depend on the caller's generator."""

import torch

from eyeline.learn.exercise import Draw
from eyeline.learn.master import masters


def test_the_same_seed_draws_the_same():
    one, two = Draw(3), Draw(3)
    torch.manual_seed(1)
    assert torch.equal(one(2, 3), two(2, 3)) and torch.equal(one.flags(9), two.flags(9))
    whole = one.whole(5, 100)
    assert whole.min() >= 0 and whole.max() < 5


def test_there_are_28_in_order_with_three_hints_each():
    every = masters()
    assert len(every) == 28
    for master in every:
        exercise = master.exercise
        assert len(exercise.hints) == 3 and len(set(exercise.hints)) == 3
        assert 1 <= exercise.difficulty <= 3 and 5 <= exercise.minutes <= 60
        assert exercise.story.strip() and exercise.mistakes
