"""Candidates with mistakes on purpose."""

import pytest
import torch

from eyeline import EyelineError, check
from eyeline.doctor import KINDS, forge


def test_it_makes_what_it_says():
    wrong = forge("attention", "softmax over the queries")
    q, k, v = (torch.randn(2, 3, 5, 4) for _ in range(3))
    weights = torch.softmax(q @ k.mT / 2, -2)
    torch.testing.assert_close(wrong(q, k, v), weights @ v)
    assert check(wrong).name == "softmax over the queries"


def test_two_at_once():
    wrong = forge("attention", "not scaled", "mask inverted")
    assert check(wrong, mask="attend").name == "not scaled and mask inverted"


@pytest.mark.parametrize("what", KINDS)
def test_without_mistakes_it_is_right(what):
    assert check(forge(what), what).ok


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("nothing",), "choose one of attention"),
        (("attention", "nothing"), "has no mistake 'nothing'"),
        (("attention", "not scaled", "scaled twice"), "in the same step: scaled"),
    ],
)
def test_what_cannot_be_made(arguments, words):
    with pytest.raises(EyelineError, match=words):
        forge(*arguments)
