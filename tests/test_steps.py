"""Every stage of every head of every kind of model, against what the model computed."""

import dataclasses
import json

import pytest
import torch

import _tiny_models as tiny
import eyeline
from eyeline.readings import Reading, read
from eyeline.steps import Stage, Steps, make_steps
from eyeline.tokens import Token

ROTARY = {"query_rotary", "key_rotary"}
ALWAYS = {"input", "query", "key", "value", "scores", "scaled", "mask", "weights"}
ALWAYS |= {"weighted_sum", "concat", "output"}
EXTRA = {
    "opt": {"query_scaled"},
    "llama": ROTARY,
    "mistral": ROTARY,
    "gemma2": ROTARY | {"softcap"},
    "qwen3": ROTARY | {"query_norm", "key_norm"},
    "olmo2": ROTARY | {"query_norm", "key_norm"},
    "glm": ROTARY,
    "gpt-neox": ROTARY,
    "phi3": ROTARY,
    "gpt-oss": ROTARY,
}


def reading_of(family: str) -> Reading:
    target = tiny.TARGET if family in tiny.PAIRS else None
    return read(tiny.TEXT, tiny.named(family), target=target)


OURS = [f"our {family}" for family in (*tiny.OWN, "transformer")]


@pytest.mark.parametrize("family", [*tiny.MODELS, *OURS])
def test_steps_equal_the_model_in_every_head(family):
    reading = reading_of(family)
    for kind in reading.kinds:
        rows = len(reading.query_tokens(kind))
        for layer, seen in reading.maps(kind).items():
            for head in range(seen.shape[1]):
                steps = reading.steps(layer, head, (5 * head + 3) % rows, kind=kind)
                check = steps.verify()
                assert check.max_delta <= 1e-5, (kind, layer, head, check.by_stage)
                assert check.ok and check.max_relative <= 1e-5, check.relative_by_stage
                assert check.relative_by_stage.keys() == check.by_stage.keys()
                assert check.taken_from_model == ()
                expected = ALWAYS | EXTRA.get(family.removeprefix("our "), set())
                if family in ("t5", "our t5") and kind != "cross":
                    expected = expected | {"bias"}
                assert {s.name for s in steps.stages} == expected
                assert {"value", "weights", "weighted_sum", "concat", "output"} <= set(
                    check.by_stage
                )


@pytest.mark.parametrize("family", tiny.MODELS)
def test_maps_equal_the_eager_weights(family):
    reading = reading_of(family)
    network = tiny.network(family)
    network.set_attn_implementation("eager")
    with torch.no_grad():
        result = network(**reading.origin.inputs, output_attentions=True)
    names = {"encoder": "attentions", "decoder": "attentions", "cross": "cross_attentions"}
    if family in tiny.PAIRS:
        names |= {"encoder": "encoder_attentions", "decoder": "decoder_attentions"}
    for kind in reading.kinds:
        eager = getattr(result, names[kind])
        assert len(eager) == len(reading.maps(kind)) == 2
        for layer, seen in reading.maps(kind).items():
            assert torch.allclose(seen.dense(), eager[layer], atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "qwen3", "phi3", "gpt-oss"])
def test_groups_are_explained(family):
    notes = reading_of(family).steps(0, 3, 5).notes
    assert any("head 3 reads key/value head 1" in note for note in notes)


def test_the_mask_stage_hides_the_future_and_what_left_the_window():
    steps = reading_of("mistral").steps(1, 0, 9)
    hidden = [j for j, s in enumerate(steps["mask"].values.tolist()) if s == -torch.inf]
    assert hidden == [j for j in range(len(steps.keys)) if not 6 <= j <= 9]
    assert f"{len(hidden)} of {len(steps.keys)} keys hidden" in steps["mask"].title
    assert steps["weights"].values[hidden].eq(0).all()


def test_windows_alternate():
    reading = reading_of("gemma2")
    kept = [int(reading.steps(n, 0, 9)["mask"].values.isfinite().sum()) for n in (0, 1)]
    assert kept == [4, 10]


def test_the_sink_is_in_the_formula():
    weights = reading_of("gpt-oss").steps(0, 1, 5)["weights"]
    assert "e^sink" in weights.formula and float(weights.values.sum()) < 0.999


def test_partial_rotation_leaves_the_rest():
    steps = reading_of("gpt-neox").steps(0, 0, 9)
    assert torch.equal(steps["query_rotary"].values[4:], steps["query"].values[4:])
    assert not torch.equal(steps["query_rotary"].values[:4], steps["query"].values[:4])
    assert "its first 4 numbers" in steps["query_rotary"].title


@pytest.mark.parametrize("family", tiny.PAIRS)
def test_cross_attention_looks_at_the_other_side(family):
    reading = reading_of(family)
    steps = reading.steps(1, 2, "animal", kind="cross")
    assert [k.label for k in steps.keys] == [t.label for t in reading.tokens]
    assert steps.query in reading.target_tokens
    assert len(steps["weights"].values) == len(reading.tokens)


def test_examples_hold_the_numbers():
    steps = reading_of("bert").steps(0, 0, "it")
    scaled = steps["scaled"]
    top = int(steps["weights"].values.argmax())
    assert f"{steps['scores'].values[top]:.4g} ÷ 2.828 = {scaled.values[top]:.4g}" == scaled.example
    assert f"= {steps['weights'].values[top]:.4f}" in steps["weights"].example
    with pytest.raises(KeyError, match="there are input, query"):
        steps["nothing"]


def test_json_holds_everything_and_nothing_that_json_cannot():
    steps = reading_of("mistral").steps(0, 0, 9)
    data = json.loads(json.dumps(steps.to_dict(), allow_nan=False))
    assert [s["name"] for s in data["stages"]] == [s.name for s in steps.stages]
    values = {s["name"]: s["values"] for s in data["stages"]}
    assert values["weights"] == steps["weights"].values.tolist()
    assert values["mask"][0] is None and values["mask"][9] is not None
    assert data["max_delta"] == steps.verify().max_delta
    assert data["max_relative_delta"] == steps.verify().max_relative > 0
    assert data["equal_but_for_rounding"] is True and data["tolerance"] == 1e-5
    relative = {s["name"]: s["max_relative_delta"] for s in data["stages"]}
    assert relative["weights"] == steps["weights"].relative_delta and relative["input"] is None
    assert data["taken_from_model"] == []


def test_a_wrong_projection_is_noticed():
    loaded = tiny.loaded("bert")
    copy = dataclasses.replace(loaded, network=tiny.network("bert"))
    reading = read(tiny.TEXT, copy)
    attention = copy.network.encoder.layer[0].attention.self
    original = attention.query.forward
    attention.query.forward = lambda x: original(x) + 1
    try:
        steps = reading.steps(0, 0, 3)
    finally:
        del attention.query.forward
    assert steps.verify().taken_from_model == ("query_adjusted",)
    assert any("does not know" in note for note in steps.notes)
    assert steps.verify().max_delta <= 1e-5  # from there on it is the model's arithmetic


def test_verification_judges_by_the_size_of_the_numbers():
    def check(own, model, tolerance=1e-5):
        own, model = (torch.tensor([n, 0.0], dtype=torch.float64) for n in (own, model))
        stages = (Stage("query", "", "", "", own, "feature", model),)
        token = Token(0, 0, "it", "it", 0, 2, False)
        return Steps("encoder", 0, 0, token, [token], stages, tolerance=tolerance).verify()

    large = check(5000.01, 5000.0)
    assert large.max_delta > 1e-3 and large.max_relative == pytest.approx(2e-6) and large.ok
    assert str(large).endswith("relative 2.0e-06: rounding")
    small = check(0.0011, 0.001)
    assert small.max_delta < large.max_delta and not small.ok
    assert small.beyond_rounding == ("query",) and "MORE THAN ROUNDING in query" in str(small)
    assert check(0.0011, 0.001, tolerance=0.2).ok
    assert not check(torch.nan, 1.0).ok and check(torch.nan, torch.nan).ok


def test_the_tolerance_is_that_of_the_models_precision():
    token = Token(0, 0, "it", "it", 0, 2, False)
    found = {}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        query, key, value = torch.randn(3, 1, 1, 1, 64).to(dtype)
        output, seen = eyeline.observe(query, key, value)
        made = make_steps(
            seen, kind="encoder", layer=0, head=0, query=token, keys=[token], output=output
        )
        found[dtype] = made.verify().tolerance
        assert made.verify().ok
    assert list(found.values()) == sorted(found.values()) and len(set(found.values())) == 4
