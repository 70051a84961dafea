"""From the token's vector to q, k and v: against the modules themselves."""

import pytest
import torch
from torch import nn

import eyeline
from eyeline._stages import Vectors, project
from eyeline._stages.stage import Builder
from eyeline.capture.projections import Linear, Projections, Seen
from eyeline.rotary import apply_rotary
from eyeline.tokens import Token

LONG, WIDE, HEAD_DIM, HEADS, KV_HEADS, ROW, HEAD = 5, 6, 4, 4, 2, 3, 3
KEYS = [Token(i, i, f"k{i}", f"k{i}", -1, -1, False) for i in range(LONG)]


def linear(rows, bias=True):
    made = nn.Linear(WIDE, rows * HEAD_DIM, bias=bias, dtype=torch.float64)
    return Linear(made, made.weight.detach(), made.bias.detach() if bias else None)


class Setting:
    """A head of grouped attention on random vectors; `change` is what the model does to q and k."""

    def __init__(self, change=lambda q, k: (q, k), rotary=None, norms=(None, None), scale=None):
        self.x = torch.randn(1, LONG, WIDE, dtype=torch.float64)
        self.parts = Projections(
            *(linear(HEADS), linear(KV_HEADS, bias=False), linear(KV_HEADS)), linear(1), *norms
        )
        split = [
            p(self.x).unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)
            for p in (self.parts.query, self.parts.key, self.parts.value)
        ]
        query, key = change(*split[:2])
        _, seen = eyeline.observe(query, key, split[2], enable_gqa=True, scale=scale)
        self.build = Builder(seen, HEAD, ROW, KEYS)
        self.model = Vectors(query[0, HEAD, ROW], key[0, HEAD // 2], split[2][0, HEAD // 2])
        self.seen = Seen(query_input=self.x, kv_input=self.x, rotary=rotary)

    def run(self):
        result = project(self.build, self.parts, self.seen, self.model)
        for ours, theirs in zip(result, self.model, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12)
        return {s.name: s for s in self.build.stages}


def test_plain_projections():
    setting = Setting()
    stages = setting.run()
    assert list(stages) == ["input", "query", "key", "value"]
    assert torch.equal(stages["input"].values, setting.x[0, ROW])
    assert all(stages[n].delta <= 1e-12 for n in ("query", "key", "value"))
    assert [stages[n].per for n in ("query", "key", "value")] == [
        *("feature", "key, feature", "key, feature")
    ]


def test_formulas_have_a_bias_where_the_model_has_one():
    stages = Setting().run()
    formulas = [stages[n].formula for n in ("query", "key", "value")]
    assert formulas == ["q = W_Q x + b", "k = W_K x", "v = W_V x + b"]


def test_examples_are_of_the_key_that_is_looked_at_most():
    setting = Setting()
    stages, build = setting.run(), setting.build
    assert stages["query"].example.startswith("q[0] = ")
    assert stages["query"].example.endswith(f"= {stages['query'].values[0]:.4g}")
    for name in ("key", "value"):
        assert stages[name].example.startswith(f"{name[0]}(k{build.top})[0] = ")
        assert stages[name].example.endswith(f"= {stages[name].values[build.top, 0]:.4g}")


def test_groups_are_a_note():
    setting = Setting()
    setting.run()
    (note,) = setting.build.notes
    assert "2 query heads share" in note and "head 3 reads key/value head 1" in note


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("width", [HEAD_DIM, 2])
def test_rotary_positions(interleaved, width):
    angles = torch.rand(LONG, width // 2, dtype=torch.float64)
    # neighbours share an angle, or halves do
    both = angles.repeat_interleave(2, -1) if interleaved else angles.repeat(1, 2)
    cos, sin = both.cos(), both.sin()

    def turn(q, k):
        return tuple(apply_rotary(t, cos, sin, interleaved=interleaved) for t in (q, k))

    stages = Setting(turn, rotary=(cos[None], sin[None])).run()
    assert stages["query_rotary"].delta <= 1e-12 and stages["key_rotary"].delta <= 1e-12
    assert stages["query"].model is None, "rotation comes between this and the model's q"
    assert ("its first 2 numbers" in stages["query_rotary"].title) == (width == 2)


def test_norms_per_head():
    norm = nn.RMSNorm(HEAD_DIM, dtype=torch.float64)
    nn.init.uniform_(norm.weight, 0.5, 2)
    norm.requires_grad_(False)
    stages = Setting(lambda q, k: (norm(q), norm(k)), norms=(norm, norm)).run()
    assert stages["query_norm"].delta <= 1e-12 and "per head" in stages["query_norm"].title
    assert stages["key_norm"].formula == "x ÷ rms(x) × g"


def test_a_scale_before_the_dot_product():
    stages = Setting(lambda q, k: (q / HEAD_DIM**0.5, k), scale=1.0).run()
    assert stages["query_scaled"].formula == f"q ÷ √{HEAD_DIM}"


def test_what_is_not_known_is_taken_from_the_model_and_said():
    setting = Setting(lambda q, k: (q + 1, k))
    stages = setting.run()
    assert torch.equal(stages["query_adjusted"].values, setting.model.q)
    assert any(
        "changes its query in a way that eyeline does not know" in n for n in setting.build.notes
    )
    assert "key_adjusted" not in stages
