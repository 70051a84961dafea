"""Attention is recognised in every layout and with every form of mask; what was found is said."""

import pytest
import torch

from eyeline import masks
from eyeline.doctor import check


def right(query, key, value, allowed):
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return torch.softmax(scores, -1).nan_to_num(0) @ value


def heads_last(query, key, value, mask=None):
    q, k, v = (t.transpose(1, 2) for t in (query, key, value))
    return right(q, k, v, mask).transpose(1, 2)


def one_head(query, key, value, mask=None):
    return right(query, key, value, mask)


def ignoring(query, key, value, mask=None):
    return right(query, key, value, None if mask is None else ~mask)


def adding(query, key, value, mask=None):
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    scores = scores if mask is None else scores + mask
    return torch.softmax(scores, -1).nan_to_num(0) @ value


@pytest.mark.parametrize(
    "candidate, options, called",
    [
        (right, {}, "[batch, heads, length, width]"),
        (heads_last, {}, "[batch, length, heads, width]"),
        (one_head, {"layout": "BLD"}, "[batch, length, width]"),
        (one_head, {"layout": "LD"}, "[length, width]"),
        (ignoring, {}, "True = must not attend"),
        (adding, {}, "numbers that are added"),
    ],
)
def test_it_is_right_and_how_it_was_called_is_said(candidate, options, called):
    if candidate is right:
        candidate = lambda query, key, value, mask=None: right(query, key, value, mask)  # noqa: E731
    found = check(candidate, "attention", **options)
    assert found.ok and called in str(found.called)


def test_a_convention_that_is_stated_is_not_given_up():
    found = check(ignoring, "attention", mask="attend")
    assert not found.ok and found.name == "mask inverted"


def test_eyelines_own_is_right_with_its_masks():
    import eyeline

    def own(query, key, value, mask=None):
        rule = None if mask is None else masks.dense(mask)
        return eyeline.attention(query, key, value, attn_mask=rule)

    assert check(own, "attention", empty_rows="zero").ok
