"""Pairs of mistakes are looked for once where several layouts are the same function."""

import pytest
import torch

from eyeline.doctor import check
from eyeline.doctor._search import Judge


def twice(query, key, value):
    """Of any leading axes; a mistake that has no name."""
    return 2 * torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, -1) @ value


def twice_or_thrice(query, key, value):
    """Another function where there is an axis of heads."""
    return twice(query, key, value) * (1.5 if query.dim() == 4 else 1)


@pytest.fixture
def searched(monkeypatch):
    """The shapes of the answers among which pairs were looked for."""
    shapes = []
    explain = Judge.explain

    def watched(self, answers, precise, *, pairs, **how):
        if pairs:
            shapes.append(tuple(answers[0].value.shape))
        return explain(self, answers, precise, pairs=pairs, **how)

    monkeypatch.setattr(Judge, "explain", watched)
    return shapes


def test_one_layout_for_a_function_of_any_leading_axes(searched):
    found = check(twice)
    assert not found.ok and found.name == "unknown mistake"
    assert len(set(searched)) == 1 and "heads" in found.called["layout"]


def test_every_layout_in_which_it_is_another_function(searched):
    assert not check(twice_or_thrice).ok
    assert len(set(searched)) > 1


def test_heads_that_are_not_made_each_by_itself_hide_no_layout_without_heads(searched):
    """With heads only the first is seen; without, two mistakes that have names."""

    def first_head(query, key, value):
        if query.dim() == 4:
            query, key, value = (x[:, :1].expand_as(x) for x in (query, key, value))
        return torch.softmax(query @ key.mT, -2) @ value

    def first_head_twice(query, key, value):
        return 2 * first_head(query, key, value)

    found = check(first_head)
    assert {one.name for one in found.mistakes} == {"not scaled", "softmax over the queries"}
    searched.clear()
    assert not check(first_head_twice).ok
    assert len(set(searched)) > 1


def test_two_mistakes_are_named_in_the_layout_that_has_them():
    def unscaled_and_upside_down(query, key, value):
        return torch.softmax(query @ key.mT, -2) @ value

    found = check(unscaled_and_upside_down)
    assert {one.name for one in found.mistakes} == {"not scaled", "softmax over the queries"}
