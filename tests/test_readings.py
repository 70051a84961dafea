"""Reading, saving, loading, and saying no."""

import dataclasses
import gc
import weakref

import pytest
import torch

import _tiny_models as tiny
import eyeline
from eyeline._errors import EyelineError
from eyeline.readings import Reading, TextTooLong, load, read
from eyeline.tokens import TokenNotFound

FAMILIES = ["bert", "mistral", "gemma2", "gpt-oss", "t5", "our transformer"]
FAMILIES += [f"our {family}" for family in tiny.OWN]


def reading_of(family: str, **options) -> Reading:
    if family in tiny.PAIRS:
        options.setdefault("target", tiny.TARGET)
    return read(tiny.TEXT, tiny.named(family), **options)


def test_a_model_is_a_folder():
    reading = eyeline.read("it slept", str(tiny.folder("gpt2")))
    assert reading.kinds == ["decoder"] and reading.source == str(tiny.folder("gpt2"))
    assert load(str(tiny.folder("gpt2"))).family == "causal"
    assert "2 decoder layers" in repr(reading)


@pytest.mark.parametrize("family", FAMILIES)
def test_save_and_load(family, tmp_path):
    reading = reading_of(family)
    reading.save(tmp_path / "one.safetensors")
    again = Reading.load(tmp_path / "one.safetensors")
    for name in ("text", "model", "source", "tokens", "target_tokens", "predictions", "kinds"):
        assert getattr(again, name) == getattr(reading, name)
    for kind in reading.kinds:
        for layer, seen in reading.maps(kind).items():
            assert torch.equal(again.maps(kind)[layer].dense(), seen.dense())
        look, look_again = (r.look(3, kind=kind) for r in (reading, again))
        assert look.to_dict() == look_again.to_dict()
        if kind != "cross":
            assert [r.to_dict() for r in again.heads(kind)] == [
                r.to_dict() for r in reading.heads(kind)
            ]
        steps, after = (r.steps(1, 2, 3, kind=kind) for r in (reading, again))
        names = [s.name for s in after.stages]
        assert names[:4] == ["query", "key", "value", "scores"] and names[-1] == "weighted_sum"
        assert any("begin at q, k and v" in note for note in after.notes)
        assert after.verify().max_delta <= 1e-5
        assert torch.allclose(after["weights"].values, steps["weights"].values, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reading_that_makes_its_vectors_again_shows_the_same(family, tmp_path):
    full, lean = reading_of(family), reading_of(family, keep="inputs")
    lean.save(tmp_path / "lean.safetensors")
    again = Reading.load(tmp_path / "lean.safetensors")
    for kind in full.kinds:
        for layer, seen in full.maps(kind).items():
            other = lean.maps(kind)[layer]
            assert "made again from" in repr(other) and "made again" not in repr(seen)
            assert torch.equal(other.dense(), seen.dense())
            assert torch.equal(again.maps(kind)[layer].dense(), seen.dense())
        assert full.look(3, kind=kind).to_dict() == lean.look(3, kind=kind).to_dict()
        steps = [r.steps(1, 2, 3, kind=kind).to_dict() for r in (full, lean)]
        assert steps[0] == steps[1]


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(EyelineError, match="does not exist"):
        Reading.load(tmp_path / "nothing.safetensors")
    reading_of("bert").encoder[0].save(tmp_path / "map.safetensors")
    with pytest.raises(EyelineError, match="holds a map, not a reading"):
        Reading.load(tmp_path / "map.safetensors")
    from eyeline import _map_files

    _map_files.save({}, tmp_path / "half.safetensors", {"tokens": []})
    with pytest.raises(EyelineError, match="not a whole reading"):
        Reading.load(tmp_path / "half.safetensors")
    with pytest.raises(EyelineError, match="cannot write"):
        reading_of("bert").save(tmp_path / "no" / "folder.safetensors")


def test_layers_keeps_only_those():
    whole, part = reading_of("bert"), reading_of("bert", layers=[1])
    assert list(part.encoder) == [1]
    assert torch.equal(part.encoder[1].dense(), whole.encoder[1].dense())
    assert part.look("it").layers == (1,)
    assert part.steps(1, 0, "it").verify().max_delta <= 1e-5
    for ask in (lambda: part.steps(0, 0, "it"), lambda: part.look("it", layer=0)):
        with pytest.raises(EyelineError, match=r"no encoder layer 0 .* kept only layer 1"):
            ask()


@pytest.mark.parametrize("layers", [[2], [0, 9], [-1]])
def test_unknown_layers(layers):
    with pytest.raises(EyelineError, match=r"bert has no layer .*: its layers are 0 to 1"):
        reading_of("bert", layers=layers)


def test_no_layers_and_no_collection():
    with pytest.raises(EyelineError, match="keeps nothing"):
        reading_of("bert", layers=[])
    with pytest.raises(TypeError, match=r"write layers=\[1\]"):
        reading_of("bert", layers=1)


def test_unknown_things():
    reading = reading_of("bert")
    with pytest.raises(EyelineError, match="bert has no cross attention: choose from encoder"):
        reading.look("it", kind="cross")
    with pytest.raises(EyelineError, match="no sideways attention"):
        reading.maps("sideways")
    with pytest.raises(EyelineError, match="heads are 0 to 3"):
        reading.steps(0, 4, "it")
    with pytest.raises(TokenNotFound, match="did you mean 'animal'"):
        reading.look("animol")
    with pytest.raises(EyelineError, match="self-attention"):
        reading_of("t5").heads("cross")
    with pytest.raises(EyelineError, match="no encoder-decoder"):
        reading_of("bert", target="it")


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_empty_text(text):
    with pytest.raises(EyelineError, match="empty"):
        read(text, tiny.loaded("bert"))


def test_text_that_is_no_text():
    with pytest.raises(EyelineError, match=r"not valid Unicode: character 2 is '\\ud800'"):
        read("it\ud800", tiny.loaded("bert"))


@pytest.mark.parametrize(
    ("family", "limit"),
    [("bert", 64), ("roberta", 64), ("gpt2", 64), ("our bert", 64), ("our gpt2", 64)],
)
def test_too_long(family, limit):
    loaded = tiny.named(family)
    with pytest.raises(TextTooLong, match=f"{loaded.name} reads at most {limit}: .*--truncate"):
        read("it was " * 50, loaded)
    reading = read("it was " * 50, loaded, truncate=True)
    assert len(reading.tokens) == limit
    if "bert" in loaded.name and "ro" not in loaded.name:
        assert reading.tokens[-1].label == "[SEP]"
    assert read("it", loaded, truncate=True).tokens[-1].index < limit


def test_no_limit_where_positions_are_relative():
    assert tiny.loaded("t5").limit is None
    assert len(read("it was " * 50, tiny.loaded("t5"), target="it").tokens) > 64


def test_the_target_may_be_too_long():
    with pytest.raises(TextTooLong, match=r"the target is .* tokens, bart reads at most 64"):
        read("it", tiny.loaded("bart"), target="it was " * 50)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_target_given_and_a_target_made(family, monkeypatch):
    monkeypatch.setattr("eyeline._reading_inputs.TARGET_LIMIT", 6)
    given = reading_of(family, target="O animal")
    ends = tiny.loaded(family).config.eos_token_id
    written = "".join(t.label for t in given.target_tokens if not t.special)
    assert written.strip("␣") == "Oanimal"
    assert given.target_tokens[-1].id != ends
    made = read(tiny.TEXT, tiny.loaded(family))
    network = tiny.network(family)
    ids = network.generate(
        **{n: made.origin.inputs[n] for n in ("input_ids", "attention_mask")},
        max_new_tokens=6,
        do_sample=False,
        num_beams=1,
    )[0].tolist()
    expected = ids[:-1] if ids[-1] == ends else ids
    assert [t.id for t in made.target_tokens] == expected
    shape = made.cross[0].shape
    assert shape[2:] == (len(made.target_tokens), len(made.tokens))
    assert made.decoder[0].shape[2] == made.decoder[0].shape[3] == len(made.target_tokens)


@pytest.mark.parametrize("family", ["our t5", "our transformer"])
def test_what_our_pairs_write_is_the_target(family, monkeypatch):
    monkeypatch.setattr("eyeline._reading_inputs.TARGET_LIMIT", 6)
    model = tiny.named(family)
    given = read(tiny.TEXT, model, target="O animal")
    assert given.kinds == ["encoder", "decoder", "cross"]
    assert given.target_tokens[0].id == model.config.start_token_id
    assert "".join(t.label for t in given.target_tokens if not t.special).strip("␣") == "Oanimal"
    made = read(tiny.TEXT, model)
    ids = model.write(model.inputs(model.encode(tiny.TEXT)), 6)
    ids = ids[:-1] if ids[-1] in model.end_ids else ids
    assert [t.id for t in made.target_tokens] == ids
    assert made.cross[0].shape[2:] == (len(ids), len(made.tokens))


def test_weights_that_are_not_finite():
    broken = dataclasses.replace(tiny.loaded("bert"), network=tiny.network("bert"))
    with torch.no_grad():
        broken.network.encoder.layer[1].attention.self.query.weight[0, 0] = torch.nan
    reading = read(tiny.TEXT, broken)
    assert "NaN" in reading.look("it").sentence()
    assert "NaN" not in reading.look("it", layer=0).sentence()
    assert reading.look("it", hide_sink=True).weights.isnan().any()
    assert reading.heads()[4].label == "unsure"
    assert "NaN" not in reading.look("it", layer=1, head=2).sentence()
    steps = reading.steps(1, 0, "it")
    assert steps.verify().max_delta <= 1e-5 and steps["weights"].values.isnan().all()
    assert steps.verify().taken_from_model == ()


def tensors_alive() -> dict[int, int]:
    """Address → bytes of every tensor's storage."""
    gc.collect()
    found = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor:
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return found


@pytest.mark.parametrize("family", ["bert-mlm", "llama", "phi3", "our llama", "our bert-mlm"])
def test_a_reading_holds_its_maps_and_nothing_else(family):
    loaded = tiny.named(family)
    text = "it was tired " * 15
    read(text, loaded)  # whatever is cached for good is cached now
    before = tensors_alive()
    reading = read(text, loaded, layers=[1])
    held = {a: n for a, n in tensors_alive().items() if a not in before}
    (only,) = (reading.encoder or reading.decoder).values()
    inputs = sum(v.nbytes for v in reading.origin.inputs.values() if isinstance(v, torch.Tensor))
    packed = 2 if family == "phi3" else 1  # q, k and v are cut from one product
    assert sum(held.values()) <= packed * only.nbytes + inputs + 4096
    logits = len(reading.tokens) * tiny.VOCAB * 4
    assert sum(held.values()) < logits


def test_a_reading_goes_when_it_is_dropped():
    reading = reading_of("bert")
    seen = weakref.ref(reading.encoder[0])
    reading.steps(0, 0, "it")
    del reading
    gc.collect()
    assert seen() is None


def test_the_model_is_left_as_it_was():
    network = tiny.loaded("llama").network
    before = network.config._attn_implementation
    reading_of("llama").steps(0, 0, 3)
    assert network.config._attn_implementation == before
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in network.modules())


def test_a_reading_needs_more_than_statistics():
    with pytest.raises(ValueError, match=r"'statistics'.*'vectors' or its 'inputs'"):
        reading_of("bert", keep="statistics")


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "gemma2", "qwen3", "opt"])
def test_steps_of_a_long_text_stop_the_model_behind_their_layer(family, monkeypatch):
    reading = read("the cat sat on the mat", tiny.loaded(family))
    whole = reading.steps(0, 1, 3)
    monkeypatch.setattr("eyeline._origin._LONG", 3)
    reading = read("the cat sat on the mat", tiny.loaded(family))
    told = []
    short = reading.steps(0, 1, 3, tick=lambda done, total: told.append(done))
    assert told == [0]
    for one, other in zip(whole.stages, short.stages, strict=True):
        assert one.name == other.name and one.delta == other.delta
        torch.testing.assert_close(one.values, other.values, rtol=0, atol=0, equal_nan=True)
