"""Statistics of long texts: many blocks, several spans side by side, every cell layout."""

import pytest
import torch

import eyeline
from eyeline import masks

MASKS = {
    "none": None,
    "causal": masks.causal(),
    "two_spans": masks.prefix(130) | masks.sliding_window(60),
    "padding": masks.padding([600, 0]),
    "dense": masks.predicate(lambda b, h, i, j: (i * 7 + j * 3 + h) % 5 > 0),
}


@pytest.mark.parametrize("pooled", [(64, 64), (7, 50), (600, 13), (1, 600)])
@pytest.mark.parametrize("mask", MASKS)
def test_equal_to_the_reference(mask, pooled):
    q, k, v = (torch.randn(2, h, 600, 8, dtype=torch.float64) for h in (2, 1, 1))
    for reduce in ("sum", "max", "mean"):
        measure = eyeline.Measure(5, True, True, pooled, reduce)
        found = []
        for impl in ("reference", "tiled"):
            output, seen = eyeline.observe(
                q, k, v, MASKS[mask], enable_gqa=True, impl=impl, measure=measure
            )
            stats = seen.take(measure)
            found.append([output, stats.logsumexp, *stats.top_k, stats.entropy])
            found[-1] += [stats.received, stats.pooled]
        for theirs, ours in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-11)


@pytest.mark.parametrize("pooled", [2, 3, 4, 5])
@pytest.mark.parametrize("reduce", ["sum", "max", "mean"])
@pytest.mark.usefixtures("tiny_panels")
def test_cells_that_several_blocks_share(pooled, reduce):
    q = torch.randn(1, 2, 16, 4, dtype=torch.float64)
    _, ours = eyeline.observe(q, q, q, masks.causal(), impl="tiled")
    _, theirs = eyeline.observe(q, q, q, masks.causal(), impl="reference")
    torch.testing.assert_close(
        ours.pooled(pooled, reduce=reduce), theirs.pooled(pooled, reduce=reduce)
    )


def test_entropy_of_a_certain_row_is_zero_and_never_negative():
    q, k = 60 * torch.eye(4)[None, None], torch.eye(4)[None, None]
    _, seen = eyeline.observe(q, k, k, scale=1.0)
    assert (seen.entropy() >= 0).all() and (seen.entropy() < 1e-6).all()


def test_a_statistic_alone_equals_it_among_others():
    q = torch.randn(1, 2, 300, 8)
    ask = {"top_k": 3, "entropy": True, "received": True, "pooled": 9}
    together = eyeline.observe(q, q, q, is_causal=True)[1].measure(**ask)
    for name, value in ask.items():
        alone = eyeline.observe(q, q, q, is_causal=True)[1].measure(**{name: value})
        torch.testing.assert_close(getattr(alone, name), getattr(together, name))
