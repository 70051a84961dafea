"""Edges are cut under every kind of mask, and in the call that is meant."""

import pytest
import torch
from torch import nn

from eyeline import masks
from eyeline._types import Tile
from eyeline.capture.editing import Edge, edges_cut, narrowed


def written(mask, size=4):
    return mask.tile(Tile.whole(1, 2, size, size)).expand(1, 2, size, size)


@pytest.mark.parametrize("before", [None, masks.causal(), torch.ones(1, 2, 4, 4, dtype=torch.bool)])
def test_an_edge_under_any_mask(before):
    module = nn.Identity()
    with edges_cut({(module, 0): [Edge(1, 3, 2), Edge(0, 2, 0)]}):
        found = written(narrowed(module, before, (2, 4, 4)))
    expected = torch.ones(1, 2, 4, 4, dtype=torch.bool)
    if before is not None:
        expected &= written(before if isinstance(before, masks.Mask) else masks.dense(before))
    expected[0, 1, 3, 2] = expected[0, 0, 2, 0] = False
    assert torch.equal(found, expected)


def test_only_the_call_that_is_meant():
    module = nn.Identity()
    with edges_cut({(module, 1): [Edge(0, 0, 0)]}):
        assert narrowed(module, None, (1, 4, 4)) is None
        assert narrowed(module, None, (1, 4, 4)) is not None
        assert narrowed(module, None, (1, 4, 4)) is None
    assert narrowed(module, None, (1, 4, 4)) is None


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 1, 4), (2, 3, 4, 4)])
def test_numbers_that_are_added_become_minus_infinity(shape):
    module, added = nn.Identity(), torch.randn(shape)
    with edges_cut({(module, 0): [Edge(1, 2, 3)]}):
        found = narrowed(module, added, (3, 4, 4))
    expected = added.broadcast_to(shape[0] if len(shape) == 4 else 1, 3, 4, 4).clone()
    expected[:, 1, 2, 3] = -torch.inf
    assert isinstance(found, torch.Tensor) and torch.equal(found, expected)
