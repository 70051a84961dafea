"""What must hold whatever the numbers are: broken ones are told in words."""

import math

import pytest
import torch
import torch.nn.functional as F

import _right_attention as right
from eyeline.doctor import check, forge


def invariants(candidate, **stated):
    diagnosis = check(candidate, **stated)
    return next(stage for stage in diagnosis.stages if stage.name == "invariants")


@pytest.mark.parametrize(
    "mistake, words",
    [
        ("causal mask lets one future token through", "an earlier token notices"),
        ("mask ignored", "a masked key is noticed"),
        ("softmax over the batch", "one item of the batch notices"),
        ("sigmoid instead of softmax", "do not sum to 1"),
        ("scaled after softmax", "with all values 1 an output is 0.5"),
    ],
)
def test_what_is_broken_is_said(mistake, words):
    stage = invariants(forge("attention", mistake), mask="attend")
    assert not stage.ok and any(words in line for line in stage.lines), stage


def test_the_order_of_the_keys():
    def positional(q, k, v):
        bias = torch.arange(k.size(-2)) * 0.3
        return torch.softmax(q @ k.mT / math.sqrt(q.size(-1)) + bias, -1) @ v

    stage = invariants(positional)
    assert not stage.ok and "the order of the keys matters" in stage.lines[0]


def test_gradients_that_are_not_finite():
    class Root(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * torch.nan

    diagnosis = check(lambda q, k, v: F.scaled_dot_product_attention(Root.apply(q), k, v))
    assert not diagnosis.ok and diagnosis.name == "gradients are not finite"


def test_what_holds_is_listed():
    stage = invariants(right.plain)
    assert stage.ok
    for words in ("inputs untouched", "rows sum to 1", "finite gradients", "masked keys unseen"):
        assert words in stage.lines[0]
