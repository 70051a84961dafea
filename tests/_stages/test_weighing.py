"""From q and k to the weights: every stage against its formula, one modifier at a time."""

import math
import re

import pytest
import torch

import eyeline
from eyeline import masks
from eyeline._stages import weigh
from eyeline._stages.stage import Builder
from eyeline.biases import TensorBias
from eyeline.tokens import Token

LONG, WIDE, ROW, HEAD = 6, 4, 3, 1
KEYS = [Token(i, i, f"k{i}", f"k{i}", -1, -1, False) for i in range(LONG)]


def weighed(**options):
    query, key, value = torch.randn(3, 1, 2, LONG, WIDE, dtype=torch.float64)
    _, seen = eyeline.observe(query, key, value, **options)
    build = Builder(seen, HEAD, ROW, KEYS)
    q, k = query[0, HEAD, ROW], key[0, HEAD]
    weights, live = weigh(build, q, k)
    return {s.name: s for s in build.stages}, weights, live, k @ q


def test_plain():
    stages, weights, live, dots = weighed()
    assert list(stages) == ["scores", "scaled", "mask", "weights"]
    assert torch.equal(stages["scores"].values, dots)
    assert torch.equal(stages["scaled"].values, dots / 2)
    assert torch.allclose(weights, torch.softmax(dots / 2, -1), atol=1e-15)
    assert live.all() and stages["weights"].delta <= 1e-14
    assert all(s.per == "key" for s in stages.values())
    assert stages["scaled"].formula == "scores ÷ √4"


def test_the_example_of_softmax_gives_what_it_says():
    """Its numbers have as many digits as the weight: put into the formula they give it."""
    for seed in range(20):
        torch.manual_seed(seed)
        stages, weights, _, _ = weighed()
        example = stages["weights"].example
        found = re.fullmatch(r"e\^\((\S+) − \(?(.*?)\)?\) ÷ (\S+) = (\S+)", example)
        score, largest, total, weight = map(float, found.groups())
        assert math.exp(score - largest) / total == pytest.approx(weight, rel=5e-4), example
        assert weight == pytest.approx(float(weights.max()), abs=1e-4)


def test_another_scale_is_named_by_its_number():
    stages, _, _, dots = weighed(scale=0.3)
    assert stages["scaled"].formula == "scores ÷ 3.333"
    assert torch.allclose(stages["scaled"].values, 0.3 * dots)
    assert "by 1" in weighed(scale=1.0)[0]["scaled"].title


def test_soft_cap():
    stages, _, _, dots = weighed(softcap=0.7)
    assert torch.allclose(stages["softcap"].values, 0.7 * torch.tanh(dots / 2 / 0.7))
    assert stages["weights"].delta <= 1e-14


def test_every_bias_is_a_stage_and_counts():
    table = torch.randn(1, 2, LONG, LONG, dtype=torch.float64)
    stages, _, _, dots = weighed(bias=table)
    assert torch.allclose(stages["bias"].values, dots / 2 + table[0, HEAD, ROW])
    assert TensorBias.__name__ in stages["bias"].title and stages["weights"].delta <= 1e-14


@pytest.mark.parametrize(
    "mask, visible",
    [(masks.causal(), range(4)), (masks.sliding_window(2), range(2, 4)), (~masks.causal(), (4, 5))],
)
def test_the_mask_hides_what_the_rule_says(mask, visible):
    stages, weights, live, _ = weighed(attn_mask=mask)
    assert live.nonzero().flatten().tolist() == list(visible)
    assert stages["mask"].values.isfinite().equal(live) and weights[~live].eq(0).all()
    hidden = LONG - len(visible)
    assert stages["mask"].title == f"mask: {hidden} of {LONG} keys hidden by {mask}"
    assert stages["weights"].delta <= 1e-14


def test_a_sink_takes_its_share():
    stages, weights, _, dots = weighed(sinks=torch.tensor([0.0, 1.5], dtype=torch.float64))
    exponentials = torch.exp(dots / 2)
    expected = exponentials / (exponentials.sum() + torch.tensor(1.5).exp())
    assert torch.allclose(weights, expected, atol=1e-7) and float(weights.sum()) < 1
    assert stages["weights"].formula.endswith("sink = 1.5")


def test_nobody_to_look_at():
    _, weights, live, _ = weighed(attn_mask=masks.dense(torch.zeros(LONG, LONG, dtype=torch.bool)))
    assert not live.any() and weights.eq(0).all()
