"""Panels of all live keys of a block: their scores, which column is which key, the exceptions."""

import pytest
import torch

import _oracle
from eyeline import masks
from eyeline.biases import TensorBias
from eyeline.impl._complete import complete_panel
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._tiling import Panels

ROWS = slice(4, 9)
TWO_PIECES = masks.prefix(130) | masks.sliding_window((3, 3), offset=400)


def problem(kv_len=20, **options):
    query, key = torch.randn(2, 4, 12, 3).double(), torch.randn(2, 2, kv_len, 3).double()
    return Problem(query, key, key, scale=0.7, **options)


def panels_of(one, heads=slice(0, 4)):
    clean, hazards = find_hazards(one)
    return Panels(clean, hazards, slice(0, 2), heads)


def keys_of(found):
    return [j for p in found.pieces for j in range(p.span.cols.start, p.span.cols.stop)]


@pytest.mark.parametrize(
    ("mask", "pieces"),
    [(None, 1), (masks.causal(), 1), (TWO_PIECES, 2), (masks.padding([300, 5]), 1)],
    ids=["none", "causal", "two pieces", "padding"],
)
@pytest.mark.parametrize("heads", [slice(0, 4), slice(2, 4)])
def test_the_panel_holds_every_live_score_once(mask, pieces, heads):
    one = problem(600, mask=mask)
    panels = panels_of(one, heads)
    found = complete_panel(panels, ROWS)
    assert len(found.pieces) == pieces
    assert [p.begin for p in found.pieces[1:]] == [p.end for p in found.pieces[:-1]]
    keys = keys_of(found)
    assert len(set(keys)) == len(keys) == found.pieces[-1].end
    scores = panels.unfold(found.panel_NMS, ROWS)
    allowed = torch.ones(2, 4, 12, 600, dtype=torch.bool)
    if mask is not None:
        allowed = mask.tile(one.whole()).expand(allowed.shape)
    exact = _oracle.solve(one.query, one.key, one.value, allowed=allowed, scale=0.7)
    part = (slice(None), heads, ROWS)
    weights = torch.exp(scores - exact.logsumexp[part][..., None])
    torch.testing.assert_close(weights, exact.weights[part][..., keys])
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]).double())
    assert torch.equal(scores == -torch.inf, ~allowed[part][..., keys])
    expected = (one.query[part] * 0.7).reshape(found.query_NMD.shape)
    torch.testing.assert_close(found.query_NMD, expected)


def test_a_block_that_sees_nothing_has_no_panel():
    one = problem(mask=masks.causal(offset=-6))
    assert complete_panel(panels_of(one), slice(0, 6)) is None
    assert complete_panel(panels_of(one), slice(0, 7)) is not None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"mask": masks.causal(offset=15)}, False),
        ({"mask": masks.causal()}, True),
        ({"biases": (TensorBias(torch.zeros(20)),)}, True),
    ],
    ids=["plain", "full", "causal", "bias"],
)
def test_minus_infinity_is_expected_where_something_can_mask(options, expected):
    one = problem(**options)
    assert complete_panel(panels_of(one), ROWS).may_hold_minus_infinity(one) == expected


def test_minus_infinity_is_expected_where_special_values_are_about():
    one = problem()
    one.key[0, 0, 0] = torch.nan
    assert complete_panel(panels_of(one), ROWS).may_hold_minus_infinity(one)


@pytest.mark.parametrize("mask", [None, masks.sliding_window((3, 3)), TWO_PIECES])
def test_bad_rows_are_those_that_see_something_that_is_not_finite(mask):
    one = problem(600, mask=mask)
    one.query[0, 1, 5, 0] = torch.nan
    one.key[1, 1, 6, 2] = torch.inf
    one.value[1, 0, 404, 1] = -torch.inf
    panels = panels_of(one)
    found = complete_panel(panels, ROWS)
    allowed = torch.ones(2, 4, 12, 600, dtype=torch.bool)
    if mask is not None:
        allowed = mask.tile(one.whole()).expand(allowed.shape)
    expected = torch.zeros(2, 4, 12, dtype=torch.bool)
    expected[0, 1, 5] = True
    expected[1, 2:] = allowed[1, 2:, :, 6]
    expected[1, :2] = allowed[1, :2, :, 404]
    assert torch.equal(panels.unfold(found.bad_row, ROWS)[..., 0], expected[:, :, ROWS])
    assert torch.equal(found.live, allowed[:, :, ROWS][..., keys_of(found)])
    assert not panels.unfold(found.panel_NMS, ROWS).isnan().any()


def test_ordinary_numbers_have_no_bad_row():
    found = complete_panel(panels_of(problem()), ROWS)
    assert found.live is None
    assert found.bad_row.shape == (4, 10, 1) and not found.bad_row.any()
