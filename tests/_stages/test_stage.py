"""The stages on hand-made heads: special values, masks, sinks, and how numbers are written."""

import pytest
import torch

import eyeline
from eyeline._stages.stage import Stage, close, dot, paren, vector
from eyeline.steps import make_steps
from eyeline.tokens import Token

KEYS = [Token(i, i, f"k{i}", f"k{i}", -1, -1, False) for i in range(5)]


def steps_of(query, key, value, row=3, **options):
    output, seen = eyeline.observe(query, key, value, **options)
    return make_steps(
        seen, kind="encoder", layer=0, head=1, query=KEYS[row], keys=KEYS, output=output
    )


@pytest.fixture
def qkv():
    return torch.randn(3, 1, 2, 5, 8, dtype=torch.float64)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"softcap": 0.5},
        {"is_causal": True},
        {"bias": torch.randn(1, 2, 5, 5, dtype=torch.float64)},
        {"bias": eyeline.biases.Alibi(torch.tensor([0.5, 0.25], dtype=torch.float64))},
        {"sinks": torch.tensor([0.1, 2.0], dtype=torch.float64)},
        {"attn_mask": eyeline.masks.sliding_window(2), "softcap": 2.0},
    ],
    ids=lambda o: ",".join(o) or "plain",
)
def test_stages_equal_observe(qkv, options):
    steps = steps_of(*qkv, **options)
    assert steps.verify().max_delta <= 1e-12
    assert steps.stages[0].name == "query" and steps.stages[-1].name == "concat"
    expected = {"softcap", "bias"} & set(options)
    assert {s.name for s in steps.stages} & {"softcap", "bias"} == expected


def test_what_the_mask_hides_has_no_say(qkv):
    query, key, value = qkv
    key[..., 4, :], value[..., 4, :] = torch.nan, torch.inf
    steps = steps_of(query, key, value, is_causal=True)
    assert steps.verify().max_delta <= 1e-12
    assert steps["weights"].values[4] == 0 and steps["weighted_sum"].values.isfinite().all()


def test_what_is_seen_and_not_finite_shows(qkv):
    query, key, value = qkv
    key[..., 1, :] = torch.nan
    steps = steps_of(query, key, value, is_causal=True)
    assert steps["weights"].values.isnan().tolist() == [True, True, True, True, False]
    assert steps.verify().max_delta == 0


def test_a_row_that_sees_nobody(qkv):
    nobody = eyeline.masks.dense(torch.zeros(5, 5, dtype=torch.bool))
    steps = steps_of(*qkv, attn_mask=nobody)
    assert steps["mask"].title.startswith("mask: 5 of 5 keys hidden")
    assert steps["weighted_sum"].values.eq(0).all()
    assert steps["weights"].values.eq(0).all() and steps.verify().max_delta == 0


def test_delta():
    def delta(own, model):
        own, model = torch.tensor(own), torch.tensor(model)
        return Stage("x", "", "", "", own, "feature", model).delta

    assert delta([1.0, 2.0], [1.0, 2.5]) == 0.5
    assert delta([torch.nan, torch.inf], [torch.nan, torch.inf]) == 0
    assert delta([torch.nan], [1.0]) == delta([1.0], [torch.nan]) == torch.inf
    assert delta([], []) == 0
    assert Stage("x", "", "", "", torch.zeros(1), "feature").delta is None


def test_relative_delta():
    def relative(own, model):
        own, model = torch.tensor(own), torch.tensor(model)
        return Stage("x", "", "", "", own, "feature", model).relative_delta

    assert relative([1.0, 2.0], [1.0, 2.5]) == 0.2  # of the model's largest, not of its own
    assert relative([100.0, 1.0], [100.0, 2.0]) == 0.01
    assert relative([1.0, -torch.inf], [2.0, -torch.inf]) == 0.5
    assert relative([0.0], [0.0]) == relative([torch.nan], [torch.nan]) == relative([], []) == 0
    assert relative([1.0], [0.0]) == relative([1.0], [torch.nan]) == torch.inf
    assert Stage("x", "", "", "", torch.zeros(1), "feature").relative_delta is None


def test_close():
    x = torch.randn(4, 3)
    assert close(x, x + 1e-4) and not close(x, x + 0.1) and not close(x, x[:2])
    assert close(x * torch.nan, x * torch.nan) and not close(x, x * torch.nan)
    assert close(1e6 * x, 1e6 * x + 1)


def test_how_numbers_are_written():
    a, b = torch.tensor([1.0, -2.0, 0.5, 9.0]), torch.tensor([1.0, 3.0, 0.0, -1.0])
    assert dot("s", a, b, (a @ b)) == "s = 1×1 + (-2)×3 + 9×(-1) + … = -14"
    assert dot("s", a[:1], b[:1], torch.tensor(1.5), 0.5) == "s = 1×1 + 0.5 = 1.5"
    assert vector("x", torch.arange(7.0)) == "x = [0, 1, 2, 3, 4, 5, …]"
    assert paren(-1.5) == "(-1.5)" and paren(2) == "2"
