"""Tiled against the reference where its paths part: chunks, blocks, spans, dead rows, sinks."""

import pytest
import torch

import eyeline
from eyeline import masks

LONG = [
    ({}, 700),
    ({"is_causal": True}, 700),
    ({"attn_mask": masks.sliding_window(100)}, 700),
    ({"attn_mask": masks.prefix(130) | masks.sliding_window((3, 9))}, 700),
    ({"attn_mask": masks.padding([650, 0])}, 700),
    ({"attn_mask": masks.documents(torch.arange(700) // 90)}, 700),
    ({"sinks": torch.randn(4), "softcap": 5.0, "is_causal": True}, 700),
    ({"dropout_p": 0.3, "is_causal": True}, 700),
    ({"bias": eyeline.biases.Alibi(eyeline.biases.alibi_slopes(4))}, 700),
]


@pytest.mark.parametrize(("options", "length"), LONG, ids=range(len(LONG)))
def test_long_texts_equal_the_reference(options, length):
    q = torch.randn(2, 4, length, 16, requires_grad=True)
    k, v = (torch.randn(2, 2, length, 16, requires_grad=True) for _ in range(2))
    upstream = torch.randn(2, 4, length, 16)
    results = []
    for impl in ("reference", "tiled"):
        torch.manual_seed(5)
        output = eyeline.attention(q, k, v, enable_gqa=True, impl=impl, **options)
        results.append([output, *torch.autograd.grad(output, (q, k, v), upstream)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.usefixtures("tiny_panels")
def test_the_maximum_may_come_last_or_first():
    """Rescaling: spans whose scores grow, fall, or vanish beside the largest."""
    q = torch.ones(1, 1, 4, 1, dtype=torch.float64)
    for order in (1, -1):
        k = (order * torch.linspace(-900, 900, 17, dtype=torch.float64))[None, None, :, None]
        v = torch.randn(1, 1, 17, 2, dtype=torch.float64)
        expected = eyeline.attention(q, k, v, impl="reference")
        torch.testing.assert_close(eyeline.attention(q, k, v, impl="tiled"), expected)


@pytest.mark.usefixtures("tiny_panels")
def test_a_span_that_some_rows_do_not_see():
    q, k = torch.randn(1, 1, 9, 4).double(), torch.randn(1, 1, 20, 4).double()
    allowed = torch.zeros(9, 20, dtype=torch.bool)
    allowed[0, 19] = allowed[1, 0] = allowed[3, 7:9] = allowed[4] = True
    ours, theirs = (eyeline.attention(q, k, k, allowed, impl=i) for i in ("tiled", "reference"))
    torch.testing.assert_close(ours, theirs)


def test_a_hidden_key_costs_nothing(monkeypatch):
    """Keys that no query of a block may see are never multiplied."""
    from eyeline.impl import _tiling

    seen = []
    scores = _tiling.Panels.scores

    def counted(self, query, rows, span, name="scores"):
        seen.append((rows.stop - rows.start) * (span.cols.stop - span.cols.start))
        return scores(self, query, rows, span, name)

    monkeypatch.setattr(_tiling.Panels, "scores", counted)
    q = torch.randn(1, 1, 4096, 8)
    eyeline.attention(q, q, q, masks.sliding_window(128), impl="tiled")
    assert sum(seen) <= 4096 * (256 + 2 * 128)
    seen.clear()
    eyeline.attention(q, q, q, is_causal=True, impl="tiled")
    assert sum(seen) <= 4096 * 4096 * 0.55


def test_logsumexp_takes_no_gradient_and_one_pass_needs_none():
    from eyeline.impl import tiled
    from eyeline.impl._problem import Problem

    q = torch.randn(1, 1, 4, 4, requires_grad=True)
    output, normalizer = tiled.attend(Problem(q, q, q, scale=0.5))
    assert output.requires_grad and not normalizer.total.requires_grad
    with torch.no_grad():
        assert not tiled.attend(Problem(q, q, q, scale=0.5))[0].requires_grad
