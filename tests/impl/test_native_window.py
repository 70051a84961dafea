"""Rectangles of the weights by the kernels equal those of the careful panels."""

import pytest
import torch

import eyeline
from eyeline import masks
from eyeline._types import Tile
from eyeline.biases import Alibi
from eyeline.impl import _native_window, _windows, native
from eyeline.impl._statistics import Normalizer

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

CALLS = {
    "plain": {},
    "causal": {"attn_mask": masks.causal(40)},
    "window": {"attn_mask": masks.sliding_window((30, 9))},
    "padding": {"attn_mask": masks.padding([201, 0])},
    "dense": {"attn_mask": torch.arange(161 * 201).view(161, 201) % 5 != 0},
    "softcap": {"softcap": 2.0},
    "alibi": {"bias": Alibi(torch.linspace(0.1, 0.6, 6))},
    "sinks": {"sinks": torch.linspace(-1, 2, 6)},
}
TILES = [
    Tile(slice(0, 2), slice(0, 6), slice(0, 161), slice(0, 201)),
    Tile(slice(1, 2), slice(2, 5), slice(7, 8), slice(3, 200)),
    Tile(slice(0, 1), slice(5, 6), slice(48, 150), slice(65, 66)),
    Tile(slice(0, 2), slice(1, 2), slice(160, 161), slice(0, 201)),
]


def observed(name: str, dtype: torch.dtype, head_dim: int):
    q, k = torch.randn(2, 6, 161, head_dim), torch.randn(2, 2, 201, head_dim)
    q, k = q.to(dtype), k.to(dtype)
    return eyeline.observe(q, k, k, enable_gqa=True, impl="native", **CALLS[name])[1]


@pytest.mark.parametrize("tile", TILES, ids=["whole", "row", "column", "last"])
@pytest.mark.parametrize(("dtype", "head_dim"), [(torch.float32, 20), (torch.bfloat16, 33)])
@pytest.mark.parametrize("name", CALLS)
def test_weights_of_a_tile(name, dtype, head_dim, tile):
    seen = observed(name, dtype, head_dim)
    found = _native_window.weights(seen.problem, seen.normalizer, tile)
    wanted = torch.full(tile.shape, torch.nan)
    for part, weights in _windows.stream(seen.problem, seen.normalizer, tile):
        wanted[part.within(tile)] = weights
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("reduce", ["sum", "max"])
@pytest.mark.parametrize("pixel", [1, 3, 16, 64, 500])
@pytest.mark.parametrize("tile", TILES[:3], ids=["whole", "row", "column"])
@pytest.mark.parametrize("name", ["plain", "causal", "padding"])
def test_pixels_of_a_tile(name, tile, pixel, reduce):
    seen = observed(name, torch.float32, 20)
    found = _native_window.pixels(seen.problem, seen.normalizer, tile, pixel, reduce)
    wanted = _windows.pixels(seen.problem, seen.normalizer, tile, pixel, reduce)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("site", ["query", "key"])
def test_what_is_not_finite_changes_no_other_row(site):
    seen = observed("causal", torch.float32, 20)
    query, key = seen.problem.query.clone(), seen.problem.key.clone()
    if site == "query":
        query[1, 3, 50] = torch.nan
    else:
        key[1, 1, 150] = torch.inf
    _, bad = eyeline.observe(query, key, key, masks.causal(40), enable_gqa=True, impl="native")
    before, after = seen.dense(), bad.dense()
    spoiled = after.isnan().any(-1)
    assert spoiled.any() and torch.equal(spoiled, bad.logsumexp.isnan())
    assert torch.equal(before[~spoiled], after[~spoiled])
    allowed = torch.arange(201) <= torch.arange(161)[:, None] + 40
    assert (after[spoiled[..., None] & ~allowed] == 0).all()


def test_a_maximum_that_others_found_is_not_passed():
    """Rows normalised by plain torch, weights by the kernels: none is above 1 / total."""
    q = torch.randn(1, 1, 70, 64) * 30
    _, seen = eyeline.observe(q, q, q, impl="tiled")
    whole = seen.problem.whole()
    found = _native_window.weights(seen.problem, seen.normalizer, whole)
    assert float(found.max()) <= 1 and bool(found.isfinite().all())


@pytest.mark.parametrize("mask", [masks.dense(torch.eye(70) > 0), masks.sliding_window((0, 0))])
def test_a_weight_is_never_above_1(mask):
    """Other arithmetic may have found a maximum that is passed by a rounding: here of 1,000."""
    q = torch.full((1, 1, 70, 16), 16.0)
    seen = eyeline.observe(q, q, q, attn_mask=mask, impl="native")[1]
    top, total = seen.normalizer
    assert (top > 1000).all()
    lower = Normalizer(top.nextafter(torch.tensor(0.0)), total)
    assert torch.equal(
        _native_window.weights(seen.problem, lower, Tile.whole(1, 1, 70, 70)),
        torch.eye(70)[None, None],
    )
