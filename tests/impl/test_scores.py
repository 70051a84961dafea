import pytest
import torch

from eyeline import masks
from eyeline._types import Tile, TileKind
from eyeline.biases import TensorBias
from eyeline.impl import _scores
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem

TILE = Tile(slice(0, 1), slice(0, 2), slice(1, 4), slice(2, 6))


def problem(**options):
    query, key, value = (torch.randn(1, 2, n, 3) for n in (5, 6, 6))
    return Problem(query, key, value, scale=1.0, **options)


def mask_of(one):
    return _scores.allowed(one, TILE, _scores.tile_kind(one, TILE))


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (None, TileKind.FULL),
        (masks.prefix(6), TileKind.FULL),
        (masks.prefix(1), TileKind.EMPTY),
        (masks.causal(), TileKind.PARTIAL),
    ],
)
def test_the_kind_of_a_tile_is_the_masks(mask, kind):
    assert _scores.tile_kind(problem(mask=mask), TILE) is kind


def test_a_mask_that_is_full_is_not_written_out():
    assert mask_of(problem(mask=masks.prefix(6))) is None
    assert mask_of(problem()) is None
    expected = torch.arange(2, 6) <= torch.arange(1, 4)[:, None]
    assert torch.equal(mask_of(problem(mask=masks.causal())).squeeze(), expected)


def test_biases_add_up():
    first, second = torch.randn(5, 6), torch.randn(1, 2, 1, 6)
    one = problem(biases=(TensorBias(first), TensorBias(second)))
    expected = (first + second)[..., 1:4, 2:6]
    torch.testing.assert_close(_scores.bias_tile(one, TILE), expected)


def test_scores_are_capped_then_biased_then_masked():
    bias = torch.randn(5, 6)
    one = problem(mask=masks.causal(), biases=(TensorBias(bias),), softcap=2.0)
    scores = torch.randn(1, 2, 3, 4) * 5
    expected = 2 * torch.tanh(scores / 2) + bias[1:4, 2:6]
    expected = expected.masked_fill(~mask_of(one), -torch.inf)
    found = _scores.modify_(scores, one, TILE, mask_of(one))
    assert found is scores
    torch.testing.assert_close(found, expected)


def test_a_cell_lives_if_neither_mask_nor_bias_removes_it():
    bias = torch.zeros(5, 6)
    bias[2, 2] = -torch.inf
    bias[3, 3] = torch.finfo(torch.float32).min  # an ordinary number (N4)
    one = problem(mask=masks.causal(), biases=(TensorBias(bias),))
    live = _scores.live_cells(one, TILE, mask_of(one))
    assert live.shape == TILE.shape
    expected = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]).bool()
    assert torch.equal(live[0, 1], expected)
    assert _scores.live_cells(problem(), TILE, None).all()


def test_careful_scores_find_what_is_bad_among_the_living_only():
    one = problem(mask=masks.causal())
    one.key[0, :, 2, 1] = torch.nan  # seen by rows 2 and 3
    one.key[0, :, 5, 1] = torch.inf  # seen by none of them
    clean, hazards = find_hazards(one)
    scores = clean.query[:, :, 1:4] @ clean.key[:, :, 2:6].mT
    found, live, bad = _scores.careful_modify_(scores, clean, TILE, mask_of(clean), hazards)
    assert torch.equal(live[0, 0], torch.arange(2, 6) <= torch.arange(1, 4)[:, None])
    assert bad[0, 0].nonzero().tolist() == [[1, 0], [2, 0]]
    assert torch.equal(found == -torch.inf, bad | ~live)
    assert torch.isfinite(found[live & ~bad]).all()
