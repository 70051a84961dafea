"""Keys in panels, several of them side by side: what else lies in a panel must not show."""

import pytest
import torch

import eyeline
from eyeline import masks
from eyeline.impl import native

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

LENGTH = 203
"""Several blocks of queries for every instruction set, and no whole number of panels."""


def rising_keys(dtype, step=128.0, width=16):
    """Queries that score key j with `step * j`, and values; a later key drowns all before it."""
    query, key = (torch.zeros(2, 1, LENGTH, width, dtype=dtype) for _ in range(2))
    query[..., 0] = 1
    key[..., 0] = step * torch.arange(LENGTH)
    torch.manual_seed(0)
    return query, key, torch.randn(2, 1, LENGTH, width).to(dtype)


def bounded(kind, number):
    """A mask, and the last key that each row sees [batch, length]: by its place or not."""
    rows = torch.arange(LENGTH).expand(2, -1)
    if kind == "causal":
        return masks.causal(offset=number), (rows + number).clamp(max=LENGTH - 1)
    lengths = torch.tensor([100 + number, LENGTH])
    return masks.padding(lengths), (lengths - 1)[:, None].expand_as(rows)


def read(value, last):
    """The values at `last`, [batch, 1, length, width]."""
    return value.gather(2, last[:, None, :, None].expand_as(value))


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("kind", ["causal", "padding"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_key_that_no_row_of_the_block_sees_is_not_the_maximum(answers, dtype, kind, number):
    mask, last = bounded(kind, number)
    if dtype == torch.float16:
        query, key, value = rising_keys(dtype, step=64.0)  # below its largest number
    else:
        query, key, value = rising_keys(dtype)
    leaves = [t.requires_grad_() for t in (query, key, value)]
    output = eyeline.attention(*leaves, attn_mask=mask, scale=1.0, impl="native")
    assert torch.equal(output, read(value, last))
    gradient = torch.randn_like(output)
    dq, dk, dv = torch.autograd.grad(output, leaves, gradient)
    assert not dq.any() and not dk.any()
    places = last[:, None, :, None].expand_as(dv)
    expected = torch.zeros(dv.shape).scatter_add_(2, places, gradient.float())
    tolerance = {} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(dv, expected.to(dtype), **tolerance)
    assert answers == [True, True]  # the kernels themselves, not careful panels after them


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("kind", ["causal", "padding"])
def test_everything_observed_is_of_the_keys_that_are_seen(answers, kind, number):
    mask, last = bounded(kind, number)
    query, key, value = rising_keys(torch.float32)
    output, seen = eyeline.observe(
        *(query, key, value),
        attn_mask=mask,
        scale=1.0,
        impl="native",
        measure=eyeline.Measure(top_k=2, entropy=True, received=True),
    )
    assert torch.equal(output, read(value, last))
    assert torch.equal(seen.logsumexp, 128.0 * last[:, None])
    assert torch.equal(seen.top_k(1).indices[..., 0], last[:, None])
    assert not seen.entropy().any()
    received = [row.bincount(minlength=LENGTH).float() for row in last]
    assert torch.equal(seen.received(), torch.stack(received)[:, None])
    assert all(answers)


@pytest.mark.parametrize("width", [5, 12, 64, 100, 136])
@pytest.mark.parametrize("window", [None, 7, 90])
def test_many_queries_get_what_few_get(width, window):
    torch.manual_seed(1)
    query, key, value = (torch.randn(1, 2, LENGTH, width) for _ in range(3))
    mask = None if window is None else masks.sliding_window(window)
    together = eyeline.attention(query, key, value, attn_mask=mask, impl="native")
    distance = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    for begin in range(0, LENGTH, 40):
        rows = slice(begin, begin + 40)
        same = None if window is None else ((distance >= 0) & (distance < window))[rows]
        few = eyeline.attention(query[:, :, rows], key, value, attn_mask=same, impl="native")
        torch.testing.assert_close(together[:, :, rows], few, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("rows", [1, 3, 70])
@pytest.mark.parametrize(("head_dim", "value_dim"), [(0, 5), (24, 0), (0, 0), (8, 3), (72, 40)])
def test_rows_may_hold_nothing_or_little(rows, head_dim, value_dim):
    query, key = torch.randn(2, 4, rows, head_dim), torch.randn(2, 2, 700, head_dim)
    value = torch.randn(2, 2, 700, value_dim)
    found, expected = (
        eyeline.attention(query, key, value, enable_gqa=True, impl=impl)
        for impl in ("native", "reference")
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
