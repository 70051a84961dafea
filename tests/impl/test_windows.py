"""Explicit weights of rectangles, and the problem of some heads."""

import pytest
import torch

import eyeline
from eyeline._types import Tile
from eyeline.impl import _windows


@pytest.fixture
def seen():
    q, k = torch.randn(2, 6, 9, 4), torch.randn(2, 2, 11, 4)
    return eyeline.observe(q, k, k, eyeline.masks.causal(2), enable_gqa=True)[1]


@pytest.mark.usefixtures("tiny_panels")
@pytest.mark.parametrize("heads", [(0, 6), (1, 2), (2, 5), (4, 6)])
def test_pieces_cover_the_tile_once(seen, heads):
    dense = _dense(seen)
    tile = Tile(slice(0, 2), slice(*heads), slice(1, 8), slice(3, 10))
    count = torch.zeros(dense.shape)
    for part, weights in _windows.stream(seen.problem, seen.normalizer, tile):
        assert weights.shape == part.shape
        torch.testing.assert_close(weights, dense[part])
        count[part] += 1
    inside = torch.zeros(dense.shape)
    inside[tile] = 1
    assert torch.equal(count, inside)


def _dense(seen):
    from eyeline.impl import reference

    return reference.weights(seen.problem)[0]


def test_an_empty_tile_has_no_pieces(seen):
    tile = seen.problem.whole()._replace(rows=slice(3, 3))
    assert list(_windows.stream(seen.problem, seen.normalizer, tile)) == []


@pytest.mark.parametrize("heads", [(0, 6), (4, 5), (2, 3), (0, 3), (3, 6)])
def test_the_problem_of_some_heads(seen, heads):
    part = _windows.select(seen.problem, slice(1, 2), slice(*heads))
    expected = _dense(seen)[1:2, slice(*heads)]
    from eyeline.impl import reference

    torch.testing.assert_close(reference.weights(part)[0], expected)
    if heads[1] - heads[0] == 1:
        assert part.key.shape[1] == 1


def test_part_of_a_group_is_no_problem(seen):
    with pytest.raises(AssertionError, match="part of a group"):
        _windows.select(seen.problem, slice(0, 1), slice(1, 3))
