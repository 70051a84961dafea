"""When a module's inputs are enough, when they are not, and that nothing stays behind."""

import threading

import pytest
import torch

from eyeline.capture import hf_calls, watch


def hooks(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def implementations(model) -> set[str | None]:
    return {m.config._attn_implementation for m in model.modules() if hasattr(m, "config")}


def lean_maps(model, given):
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**given)
    return lean


@pytest.mark.parametrize("name, cache", [("llama", "DynamicCache"), ("t5", "EncoderDecoderCache")])
def test_with_a_cache_everything_is_kept_and_said(tiny, inputs, name, cache):
    model = tiny(name)
    lean = lean_maps(model, inputs(model))
    records = list(lean.records.values())
    for record in records:
        keeps = (
            "inputs"
            if record.kind == "encoder"
            else f"query, key and value: it was given a {cache}"
        )
        assert record.keeps == keeps
        assert f"keeps {keeps}" in repr(record)
    with torch.no_grad(), watch(model) as full:
        model(**inputs(model))
    assert all(torch.equal(lean[n].dense(), full[n].dense()) for n in full)


def test_generate_shows_the_same_maps(tiny, inputs):
    model = tiny("llama")
    model.generation_config.update(eos_token_id=None, pad_token_id=0)
    given = inputs(model, length=6)
    with watch(model) as full, watch(model, keep="inputs") as lean:
        model.generate(**given, max_new_tokens=4, do_sample=False)
    for ours, theirs in zip(lean.passes, full.passes, strict=True):
        assert all(torch.equal(ours[n].dense(), theirs[n].dense()) for n in theirs)


@pytest.mark.parametrize("train, reason", [(True, "training mode"), (False, "gradients are on")])
def test_while_it_learns_everything_is_kept(tiny, inputs, train, reason):
    model = tiny("bert").train(train)
    with watch(model, keep="inputs") as lean:
        model(**inputs(model)).last_hidden_state.square().mean().backward()
    assert all(reason in r.keeps for r in lean.records.values())
    before = [m.dense() for m in lean.values()]
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert all(torch.equal(m.dense(), b) for m, b in zip(lean.values(), before, strict=True))


def test_a_module_that_was_not_heard_keeps_everything(tiny, inputs, monkeypatch):
    model = tiny("bert")
    monkeypatch.setattr(hf_calls, "_enter", lambda *_: None)
    records = lean_maps(model, inputs(model)).records.values()
    assert {r.keeps for r in records} == {"query, key and value: its inputs were not seen"}


def test_what_a_hook_before_ours_makes_of_the_inputs_counts(tiny, inputs):
    model = tiny("bert")
    attention = model.encoder.layer[0].attention.self
    handle = attention.register_forward_pre_hook(lambda _m, args: (2 * args[0], *args[1:]))
    lean = lean_maps(model, inputs(model))
    with torch.no_grad(), watch(model) as full:
        model(**inputs(model))
    handle.remove()
    name = "encoder.layer.0.attention.self"
    assert torch.equal(lean[name].dense(), full[name].dense())


@pytest.mark.parametrize("before", ["eager", "sdpa"])
def test_nothing_stays_patched(tiny, inputs, before):
    model = tiny("t5")
    model.set_attn_implementation(before)
    count = hooks(model)
    lean = lean_maps(model, inputs(model) | {"use_cache": False})
    assert (hooks(model), implementations(model)) == (count, {before})
    for seen in lean.values():
        seen.dense()
        assert (hooks(model), implementations(model)) == (count, {before})
    assert hf_calls._running.calls == {} and hf_calls._wanted.get() is None


def test_nor_after_an_exception(tiny, inputs):
    model = tiny("llama")
    count = hooks(model)
    given = inputs(model) | {"use_cache": False}
    lean = lean_maps(model, given)
    attention = model.model.layers[1].self_attn

    def fail(*_args):
        raise ZeroDivisionError

    handle = attention.v_proj.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        lean["model.layers.1.self_attn"].dense()
    with pytest.raises(ZeroDivisionError), torch.no_grad(), watch(model, keep="inputs"):
        model(**given)
    handle.remove()
    assert (hooks(model), implementations(model)) == (count, {"eager"})
    assert hf_calls._running.calls == {} and hf_calls._wanted.get() is None
    assert lean["model.layers.1.self_attn"].dense().isfinite().all()


def test_maps_are_read_inside_the_block_too_and_are_no_passes(tiny, inputs):
    model = tiny("gpt2")
    with torch.no_grad(), watch(model, keep="inputs") as lean:
        model(**inputs(model) | {"use_cache": False})
        inside = [m.dense() for m in lean.values()]
        assert implementations(model) == {"eyeline"}
    assert len(lean.passes) == 1
    assert all(torch.equal(m.dense(), i) for m, i in zip(lean.values(), inside, strict=True))


def test_a_module_that_is_called_twice_keeps_each_calls_inputs(tiny, inputs):
    model = tiny("albert")
    lean = lean_maps(model, inputs(model))
    first, second = lean.values()
    assert not torch.equal(first.dense(), second.dense())
    assert first._recipe._inputs[0] is not second._recipe._inputs[0]


def test_a_module_that_changed_its_ways_is_an_error(tiny, inputs):
    model = tiny("bert")
    seen = next(iter(lean_maps(model, inputs(model)).values()))
    model.encoder.layer[0].attention.self.forward = lambda *_a, **_k: None
    with pytest.raises(RuntimeError, match="BertSelfAttention did not call its attention"):
        seen.dense()


def test_another_thread_may_ask(tiny, inputs):
    model = tiny("llama")
    lean = lean_maps(model, inputs(model) | {"use_cache": False})
    expected = {n: m.dense() for n, m in lean.items()}
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(5):
            wrong.extend(n for n, m in lean.items() if not torch.equal(m.dense(), expected[n]))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and implementations(model) == {"eager"}


def test_compiled_models_too(tiny, inputs):
    model = tiny("llama")
    given = inputs(model) | {"use_cache": False}
    with torch.no_grad(), watch(model) as full, watch(model, keep="inputs") as lean:
        torch.compile(model, backend="eager")(**given)
    for name, record in lean.records.items():
        assert record.keeps == "inputs"
        assert torch.equal(record.map.dense(), full[name].dense())
