"""Every architecture: the same outputs and weights as transformers' own eager attention."""

import copy
import threading
from typing import Any

import pytest
import torch

from eyeline.capture import UnsupportedModel, watch
from eyeline.capture.huggingface import attention_forward

ARCHITECTURES = [
    "bert",
    "albert",
    "gpt2",
    "t5",
    "bart",
    "bert-pair",
    "llama",
    "mistral",
    "gemma2",
    "gemma3",
    "qwen3",
    "phi3",
    "gpt-neox",
    "gpt-oss",
    "opt",
    "whisper",
    "vit",
]
DECODERS = ["gpt2", "llama", "mistral", "gemma2", "gemma3", "qwen3", "gpt-neox", "gpt-oss", "opt"]
PAIRS = ["t5", "bart", "bert-pair"]


def eager_weights(result: Any) -> dict[str, list[torch.Tensor]]:
    """What `output_attentions=True` gives, by kind."""
    if "cross_attentions" in result and result.cross_attentions:
        return {
            "encoder": list(result.encoder_attentions or ()),
            "decoder": list(result.decoder_attentions),
            "cross": list(result.cross_attentions),
        }
    return {"self": list(result.attentions)}


def worst(expected: torch.Tensor, seen: torch.Tensor) -> float:
    """Largest difference among rows that see something; eager spreads the others evenly."""
    assert seen.shape == expected.shape
    live = seen.sum(-1) > 0
    return float((seen - expected)[live].abs().max()) if live.any() else 0.0


def text_rows(given: dict[str, Any], kind: str, weights: torch.Tensor) -> torch.Tensor:
    """Rows of real tokens: what padding looks at differs where it sees nothing."""
    mask = given.get("attention_mask")
    if mask is None or kind in ("decoder", "cross"):
        return torch.ones(weights.shape[0], weights.shape[2], dtype=torch.bool)
    return mask.bool()


@pytest.mark.parametrize("padding", [None, "right", "left"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_output_and_weights_equal_eager(tiny, inputs, name, padding):
    model = tiny(name)
    if padding and name in ("whisper", "vit"):
        pytest.skip("takes no padding")
    given = inputs(model, padding)
    with torch.no_grad():
        expected = model(**given, output_attentions=True)
        with watch(model) as maps:
            found = model(**given)
    rows = slice(None)  # padded rows see other things: only rows of text count
    if padding and "decoder_input_ids" not in given:
        rows = given["attention_mask"].bool()
    output_error = float((expected[0] - found[0])[rows].abs().max())
    errors = []
    for kind, layers in eager_weights(expected).items():
        records = [r for r in maps.records.values() if kind in ("self", r.kind)]
        assert [r.layer for r in records] == list(range(len(layers)))
        for weights, record in zip(layers, records, strict=True):
            live = text_rows(given, kind, weights)[:, None, :, None]
            errors.append(worst(weights * live, record.map.dense() * live))
    print(f"{name:10} padding={padding!s:6} output {output_error:.1e}  weights {max(errors):.1e}")
    assert output_error <= 1e-5
    assert max(errors) <= 1e-5


@pytest.mark.parametrize(
    "name, kinds",
    [
        ("bert", ["encoder"] * 2),
        ("vit", ["encoder"] * 2),
        ("gpt2", ["decoder"] * 2),
        ("t5", ["encoder"] * 2 + ["decoder", "cross"] * 2),
        ("bart", ["encoder"] * 2 + ["decoder", "cross"] * 2),
        ("bert-pair", ["encoder"] * 2 + ["decoder", "cross"] * 2),
        ("whisper", ["encoder"] * 2 + ["decoder", "cross"] * 2),
    ],
)
def test_kinds(tiny, inputs, name, kinds):
    model = tiny(name)
    with torch.no_grad(), watch(model) as maps:
        model(**inputs(model))
    assert [r.kind for r in maps.records.values()] == kinds
    for record_name, record in maps.records.items():
        assert record.name == record_name
        assert model.get_submodule(record_name.split("@")[0]) is record.module


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "llama", "gpt-oss"])
def test_model_hands_the_maps_on_as_attentions(tiny, inputs, name):
    model = tiny(name)
    with torch.no_grad(), watch(model) as maps:
        result = model(**inputs(model), output_attentions=True)
    seen = [m for layers in eager_weights(result).values() for m in layers]
    assert len(seen) == len(maps)
    for own in maps.values():
        assert any(torch.equal(own.dense(), m.dense()) for m in seen)


def test_output_per_head_is_what_the_model_used(tiny, inputs):
    model = tiny("llama")
    used = {}
    handles = [
        layer.self_attn.o_proj.register_forward_pre_hook(
            lambda _m, args, number=number: used.update({number: args[0]})
        )
        for number, layer in enumerate(model.model.layers)
    ]
    with torch.no_grad(), watch(model, outputs=True) as maps:
        model(**inputs(model))
    for handle in handles:
        handle.remove()
    for record in maps.records.values():
        joined = record.output.transpose(1, 2).flatten(2)
        assert torch.equal(joined, used[record.layer])
        group = record.map.problem.group
        by_hand = record.map.dense() @ record.map.problem.value.repeat_interleave(group, 1)
        torch.testing.assert_close(record.output, by_hand, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", DECODERS + PAIRS)
def test_generate(tiny, inputs, name, cache):
    model = tiny(name)
    model.generation_config.update(eos_token_id=None, pad_token_id=0)
    given = inputs(model, "left", length=6)
    given.pop("decoder_input_ids", None)
    wanted = {
        "max_new_tokens": 6,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_attentions": True,
        "cache_implementation": "static" if cache == "static" else None,
    }
    expected = model.generate(**given, **wanted)
    with watch(model) as maps:
        found = model.generate(**given, **wanted)
    assert torch.equal(found.sequences, expected.sequences)
    steps = expected.decoder_attentions if name in PAIRS else expected.attentions
    assert len(maps.passes) == len(steps) == 6
    for layers, records in zip(steps, maps.record_passes, strict=True):
        decoder = [r for r in records.values() if r.kind == "decoder"]
        for weights, record in zip(layers, decoder, strict=True):  # read after the cache moved on
            assert worst(weights, record.map.dense()) <= 1e-5
    if name in PAIRS:
        kinds = {r.kind for r in maps.record_passes[0].values()}
        assert kinds == {"encoder", "decoder", "cross"}


def test_dynamic_cache_copies_nothing_and_steps_share_one_past(tiny, inputs):
    model = tiny("llama")
    model.generation_config.update(eos_token_id=None, pad_token_id=0)
    given = inputs(model, length=6)
    with watch(model) as maps:
        past = model(**given).past_key_values
    first = maps["model.layers.0.self_attn"].problem.key
    assert first.untyped_storage().data_ptr() == past.layers[0].keys.untyped_storage().data_ptr()
    with watch(model) as maps:
        model.generate(**given, max_new_tokens=12, do_sample=False)
    keys = [p["model.layers.1.self_attn"].problem.key for p in maps.passes]
    assert len(keys) == 12
    assert len({k.untyped_storage().data_ptr() for k in keys}) <= 4


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2"])
def test_chunked_prefill(tiny, inputs, name):
    model = tiny(name)
    ids = inputs(model)["input_ids"]
    with torch.no_grad():
        past = model(ids[:, :6], use_cache=True).past_key_values
        expected = model(
            ids[:, 6:], past_key_values=copy.deepcopy(past), output_attentions=True
        ).attentions
        with watch(model) as maps:
            model(ids[:, 6:], past_key_values=past)
    for weights, seen in zip(expected, maps.values(), strict=True):
        assert worst(weights, seen.dense()) <= 1e-5
        assert "predicate" not in str(seen.problem.mask)


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2"])
def test_packed_sequences(tiny, inputs, name):
    model = tiny(name)
    ids = inputs(model)["input_ids"]
    positions = torch.tensor([[*range(4), *range(7)]]).expand(2, -1)
    given = {"input_ids": ids, "position_ids": positions, "use_cache": False}
    with torch.no_grad():
        expected = model(**given, output_attentions=True).attentions
        with watch(model) as maps:
            model(**given)
    for weights, seen in zip(expected, maps.values(), strict=True):
        assert worst(weights, seen.dense()) <= 1e-5
        assert "documents" in str(seen.problem.mask)
        assert "predicate" not in str(seen.problem.mask)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_own_4d_mask(tiny, inputs, dtype):
    model = tiny("llama")
    ids = inputs(model)["input_ids"]
    allowed = torch.ones(11, 11, dtype=torch.bool).tril()
    allowed[5:, 2] = False
    allowed = allowed.expand(2, 1, 11, 11)
    lowest = torch.finfo(torch.float32).min
    added = torch.zeros(allowed.shape).masked_fill(~allowed, lowest)
    with torch.no_grad():
        expected = model(ids, attention_mask=added, output_attentions=True).attentions
        with watch(model) as maps:
            model(ids, attention_mask=allowed if dtype == torch.bool else added)
    for weights, seen in zip(expected, maps.values(), strict=True):
        assert worst(weights, seen.dense()) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_half_precision(tiny, inputs, name, dtype):
    model = tiny(name).to(dtype)
    given = inputs(model)
    with torch.no_grad():
        expected = model(**given, output_attentions=True)
        with watch(model) as maps:
            found = model(**given)
    assert found[0].dtype == dtype
    tolerance = 0.02 if dtype == torch.bfloat16 else 0.003
    wanted = [w for layers in eager_weights(expected).values() for w in layers]
    assert len(wanted) == len(maps)
    sums = [m.dense().sum(-1) for m in maps.values()]
    assert all(torch.allclose(s, torch.ones_like(s), atol=1e-5) for s in sums)
    first = next(iter(maps.values())).dense()
    assert worst(wanted[0].float(), first) <= tolerance


def test_autocast(tiny, inputs):
    model = tiny("llama")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(**inputs(model)).logits
        with watch(model):
            found = model(**inputs(model)).logits
    assert (found - expected).abs().max() <= 0.05 * expected.abs().max()


def test_without_a_watcher_it_still_computes_attention(tiny, inputs):
    model = tiny("gemma2")
    given = inputs(model)
    with torch.no_grad():
        expected = model(**given).logits
        with watch(model):
            pass  # registers
        model.set_attn_implementation("eyeline")
        found = model(**given, output_attentions=True)
    torch.testing.assert_close(found.logits, expected, atol=1e-5, rtol=1e-5)
    assert not any(found.attentions)


def test_worker_thread_reports_to_the_block_that_waits_for_it(tiny, inputs):
    model = tiny("gpt2")
    given = inputs(model)
    with watch(model) as maps:
        worker = threading.Thread(target=lambda: model(**given))
        worker.start()
        worker.join()
    assert len(maps) == 2


def test_threads_that_watch_the_same_model_see_only_their_own(tiny, inputs):
    model = tiny("gpt2")
    lengths: dict[int, list[int]] = {}
    barrier = threading.Barrier(2)

    def run(length: int) -> None:
        given = inputs(model, length=length)
        barrier.wait()
        with torch.no_grad(), watch(model) as maps:
            barrier.wait()
            for _ in range(5):
                model(**given)
            barrier.wait()
        lengths[length] = [next(iter(p.values())).shape[-1] for p in maps.passes]

    threads = [threading.Thread(target=run, args=(length,)) for length in (5, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == {5: [5] * 5, 9: [9] * 5}
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("name", ["bloom", "gptj"])
def test_models_outside_the_interface_are_refused(tiny, name):
    model = tiny(name)
    with pytest.raises(UnsupportedModel, match=rf"{type(model).__name__}.*AttentionInterface"):
        with watch(model):
            pass


def test_paged_cache_is_refused():
    x = torch.zeros(1, 1, 2, 4)
    with pytest.raises(UnsupportedModel, match="continuous batching"):
        attention_forward(torch.nn.Module(), x, x, x, None, cache=object())


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "bert", "t5"])
def test_no_n_by_n_in_the_maps_and_none_made_by_us(tiny, inputs, name):
    """At 60 keys a dense weight, mask or bias has 3600 numbers per head; nothing kept has."""
    model = tiny(name)
    n = 60
    given = inputs(model, "right", length=n)
    with torch.no_grad(), watch(model) as maps:
        model(**given)
    for seen in maps.values():
        kept = [*seen.problem.differentiable, *_tensors(seen.problem.mask)]
        width = seen.problem.query.shape[-1]  # of vectors there may be as many
        assert all(t.numel() < n * n for t in kept if t.dim() and t.shape[-1] != width)
        assert not any(list(t.shape[-2:]) == [n, n] for t in kept)


def _tensors(mask: Any) -> list[torch.Tensor]:
    found = []
    for value in vars(mask).values() if mask is not None else ():
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif hasattr(value, "tile"):
            found += _tensors(value)
    return found


def test_compiled_models_are_watched_too(tiny, inputs):
    model = tiny("llama")
    given = inputs(model, "left")
    with torch.no_grad():
        expected = model(**given, output_attentions=True)
        with watch(model) as maps:
            compiled = torch.compile(model, backend="eager")
            found = compiled(**given)
    rows = given["attention_mask"].bool()
    assert (found.logits - expected.logits)[rows].abs().max() <= 1e-5
    for weights, seen in zip(expected.attentions, maps.values(), strict=True):
        assert worst(weights, seen.dense()) <= 1e-5
