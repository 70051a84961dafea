"""Maps that keep inputs: the same bits as those that keep everything, or a clear refusal."""

import gc
import weakref

import pytest
import torch

from eyeline.capture import watch
from eyeline.capture.recipes import AtHand, Recipe
from eyeline.impl._problem import Problem
from eyeline.maps import AttentionMap

ARCHITECTURES = ["bert", "albert", "gpt2", "t5", "bart", "bert-pair", "llama", "mistral", "gemma2"]
ARCHITECTURES += ["gemma3", "qwen3", "phi3", "gpt-neox", "gpt-oss", "opt", "whisper", "vit"]


def vectors(seen):
    return seen.problem.query, seen.problem.key, seen.problem.value


def uncached(model, given):
    """What keeps a decoder from filling a cache."""
    return given | ({"use_cache": False} if hasattr(model, "generate") else {})


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("padding", [None, "left"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_same_bits_as_maps_that_keep_everything(tiny, inputs, name, padding, state):
    if padding and name in ("whisper", "vit"):
        pytest.skip("takes no padding")
    model = tiny(name)
    given = uncached(model, inputs(model, padding))
    with state(), watch(model) as full, watch(model, keep="inputs") as lean:
        model(**given)
    assert list(lean) == list(full)
    for label, seen in lean.items():
        assert lean.records[label].keeps == "inputs"
        expected = full[label]
        assert all(torch.equal(a, b) for a, b in zip(vectors(seen), vectors(expected), strict=True))
        assert torch.equal(seen.dense(), expected.dense())
        assert torch.equal(seen[0, 1, 2], expected[0, 1, 2])
        assert seen.shape == expected.shape and seen.dtype == expected.dtype
        ours, theirs = (m.measure(top_k=3, entropy=True) for m in (seen, expected))
        assert torch.equal(ours.top_k.indices, theirs.top_k.indices)
        assert torch.equal(ours.entropy, theirs.entropy)


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_under_autocast(tiny, inputs, name):
    model = tiny(name)
    given = uncached(model, inputs(model))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        with watch(model) as full, watch(model, keep="inputs") as lean:
            model(**given)
    for label, seen in lean.items():  # asked outside of it
        assert seen.problem.query.dtype == torch.bfloat16
        assert torch.equal(seen.dense(), full[label].dense())


@pytest.mark.parametrize("name", ["bert", "t5", "llama"])
def test_query_key_and_value_are_not_kept(tiny, inputs, name, monkeypatch):
    """Neither by the map nor by the model's output; nor anything that is n×n."""
    made: list[weakref.ref] = []
    remember = Recipe.__init__

    def spy(self, label, module, given, run, vectors):
        made.extend(weakref.ref(t) for t in vectors)
        remember(self, label, module, given, run, vectors)

    monkeypatch.setattr(Recipe, "__init__", spy)
    model = tiny(name)
    given = uncached(model, inputs(model, "right", length=60))
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        result = model(**given)
    gc.collect()
    assert len(made) == 3 * len(lean) and not any(ref() is not None for ref in made)
    assert result[0].isfinite().all()
    for seen in lean.values():
        kept = seen._recipe._inputs
        assert all(t.shape[-2:] != seen.shape[-2:] for t in kept)
        full = sum(t.numel() * t.element_size() for t in vectors(seen))
        assert seen.nbytes < full and f"from {seen.nbytes} bytes" in repr(seen)


def test_t5s_dense_bias_is_not_kept_for_the_second_run(tiny, inputs):
    model, n = tiny("t5"), 60
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**uncached(model, inputs(model, length=n)))
    met = 0
    for seen in lean.values():
        _, _, given = seen._recipe._run.args
        bias = given.get("position_bias")
        if bias is not None:
            met += 1
            assert bias.untyped_storage().nbytes() == bias.element_size()
    assert met > 0


def test_shared_inputs_are_one_tensor(tiny, inputs):
    model = tiny("llama")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**uncached(model, inputs(model)))
    first, second = (m._recipe._inputs for m in lean.values())
    assert {id(t) for t in first} & {id(t) for t in second}, "cos and sin are every layer's"


def test_only_the_last_map_that_was_asked_is_at_hand(tiny, inputs):
    model = tiny("bert")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**inputs(model))
    first, second = lean.values()
    query = weakref.ref(first.problem.query)
    assert first.problem.query is query(), "asked again, it is not made again"
    second.dense()
    assert query() is None
    assert first.problem.query is not None


def test_repr_shape_and_size_make_nothing(tiny, inputs):
    model = tiny("t5")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**uncached(model, inputs(model)))
    for module in model.modules():
        module.forward = None  # nothing can run
    for record in lean.records.values():
        assert "AttentionMap(2 x 4 heads" in repr(record) and "keeps inputs" in repr(record)
        assert (
            record.map.numel() > 0 and record.map.nbytes > 0 and record.map.dtype.is_floating_point
        )


@pytest.mark.parametrize("change", ["in place", "replaced", "moved"])
def test_changed_parameters_are_refused(tiny, inputs, change):
    model = tiny("llama")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**uncached(model, inputs(model)))
    seen = lean["model.layers.1.self_attn"]
    entropy = seen.entropy()
    weight = model.model.layers[1].self_attn.k_proj
    if change == "in place":
        torch.nn.init.normal_(weight.weight)
    elif change == "replaced":
        weight.weight = torch.nn.Parameter(weight.weight.detach().clone())
    else:
        weight.weight.data = weight.weight.detach() + 1
    for ask in (seen.dense, lambda: seen[0, 0], lambda: seen.top_k(2), lambda: seen.problem):
        with pytest.raises(
            RuntimeError, match=r"parameter of model\.layers\.1\.self_attn was changed"
        ):
            ask()
    assert torch.equal(seen.entropy(), entropy), "what was measured before stays known"
    assert lean["model.layers.0.self_attn"].dense().isfinite().all()


def test_changed_inputs_are_refused():
    model = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 5, 8)
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(x, x, x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match=r"an input .* was changed after the map was made"):
        lean[""].dense()


def test_a_change_that_leaves_no_trace_shows_in_the_result(tiny, inputs):
    model = tiny("bert")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**inputs(model))
    model.encoder.layer[0].attention.self.key.weight.data[3] *= -1  # .data counts for itself
    with pytest.raises(RuntimeError, match="another query, key or value of the same inputs"):
        lean["encoder.layer.0.attention.self"].dense()


def test_maps_that_are_written_to_are_made_again(tiny, inputs):
    model = tiny("bert")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**inputs(model))
    seen = next(iter(lean.values()))
    before = seen.dense()
    seen.problem.key.zero_()
    assert torch.equal(seen.dense(), before)


@pytest.mark.parametrize("name", ["gpt2", "t5", "gemma2"])
def test_save_and_load(tiny, inputs, name, tmp_path):
    model = tiny(name)
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**uncached(model, inputs(model, "left")))
    for number, seen in enumerate(lean.values()):
        path = tmp_path / f"{number}.safetensors"
        seen.save(path)
        again = AttentionMap.load(path)
        assert torch.equal(again.dense(), seen.dense())
        assert torch.equal(again.problem.value, seen.problem.value)


def test_a_selected_head_has_vectors_of_its_own(tiny, inputs):
    model = tiny("llama")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**uncached(model, inputs(model)))
    seen = lean["model.layers.0.self_attn"]
    head, whole = seen.select(batch=1, head=2), seen.dense()
    lean["model.layers.1.self_attn"].dense()
    torch.nn.init.zeros_(model.model.layers[0].self_attn.q_proj.weight)
    assert torch.equal(head.dense(), whole[1:, 2:3])


def test_torch_attention_too():
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 4, batch_first=True).eval()
    x = torch.randn(2, 7, 16)
    with torch.no_grad(), watch(layer) as full, watch(layer, keep="inputs") as lean:
        layer(x)
    assert lean.records["self_attn"].keeps == "inputs"
    assert torch.equal(lean["self_attn"].dense(), full["self_attn"].dense())
    assert lean["self_attn"].nbytes < full["self_attn"].nbytes / 2


@pytest.mark.parametrize("train", [True, False])
def test_torch_attention_that_is_trained_keeps_everything(train):
    layer = torch.nn.TransformerEncoderLayer(16, 4, batch_first=True).train(train)
    with watch(layer, keep="inputs") as lean:
        layer(torch.randn(2, 7, 16))
    assert "being trained" in lean.records["self_attn"].keeps
    before = lean["self_attn"].dense()
    torch.nn.init.zeros_(layer.self_attn.in_proj_weight)
    assert torch.equal(lean["self_attn"].dense(), before)


def test_at_hand_makes_once_for_an_owner():
    counts = {"a": 0, "b": 0}

    def make(name):
        counts[name] += 1
        return Problem(*torch.zeros(3, 1, 1, 2, 2), scale=1.0)

    at_hand = AtHand()
    first = at_hand.of("a", lambda: make("a"))
    assert at_hand.of("a", lambda: make("a")) is first
    assert at_hand.of("b", lambda: make("b")) is not first
    at_hand.of("a", lambda: make("a"))
    assert counts == {"a": 2, "b": 1}
