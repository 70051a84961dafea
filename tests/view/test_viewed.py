"""What was computed once is kept; pictures know what may be seen."""

import torch

import _tiny_models as tiny
from eyeline import masks, observe
from eyeline.readings import read
from eyeline.view import viewed as module
from eyeline.view.viewed import Viewed, live_pixels


def test_heads_are_kept_and_let_go():
    one = Viewed(read("the cat sat on the mat", tiny.loaded("bert")))
    first = one.head("encoder", 0, 0)
    assert one.head("encoder", 0, 0) is first
    for layer in range(2):
        for head in range(4):
            one.head("encoder", layer, head)
    assert one.head("encoder", 0, 0) is not first


def test_an_overview_is_exact():
    one = Viewed(read("the cat sat on the mat", tiny.loaded("gpt2")))
    seen, weights = one.overview("decoder", 1, 2), one.reading.decoder[1]
    torch.testing.assert_close(seen.received, weights.received()[0, 2])
    torch.testing.assert_close(seen.entropy, weights.entropy()[0, 2])
    assert ((seen.shades == 0) == (weights[0, 2] == 0).numpy()).all()


def test_live_pixels():
    for size, cells in ((6, 6), (13, 5), (64, 10)):
        q = torch.randn(1, 1, size, 4)
        for mask in (masks.causal(), masks.causal() & masks.sliding_window(3)):
            one = observe(q, q, q, attn_mask=mask)[1]
            picture = one.pooled(cells, cells, "max")[0, 0]
            assert torch.equal(live_pixels(one, cells, cells), picture > 0)
        assert live_pixels(observe(q, q, q)[1], cells, cells) is None


def test_a_long_text_is_judged_by_a_sample(monkeypatch):
    monkeypatch.setattr(module, "_EXACT_CENSUS", 32)
    monkeypatch.setattr(module, "CENSUS_QUERIES", 32)
    one = Viewed(read("cat dog " * 100, tiny.loaded("llama"), beyond_limit=True))
    report = one.reports("decoder", 0)[1]
    assert report.sampled == 32
    whole = one.reading.heads()[1]
    assert abs(report.entropy - whole.entropy) < 0.35 and report.label == whole.label
