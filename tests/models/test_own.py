"""What a person does with a model: write, stream, save."""

import pytest
import torch

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.models.opening import open_own


@pytest.fixture(params=["gpt2", "llama", "t5"])
def writer(request):
    return open_own(tiny.folder(request.param), request.param)


def test_it_writes_as_transformers_does(writer):
    theirs = tiny.loaded(writer.name)
    found = writer.generate("The animal didn't", 12)
    assert found.strip() == theirs.generate("The animal didn't", 12).strip()


def test_beams(writer):
    found = writer.generate("The animal didn't", 8, num_beams=3)
    theirs = tiny.loaded(writer.name).generate("The animal didn't", 8, num_beams=3)
    assert found.strip() == theirs.strip()


def test_streaming_gives_the_same_text(writer):
    for how in ({}, {"temperature": 3.0, "seed": 4}, {"temperature": 3.0, "top_k": 5, "seed": 1}):
        pieces = list(writer.stream("The animal 🙂", 15, **how))
        assert "".join(pieces) == writer.generate("The animal 🙂", 15, **how)
        assert all(pieces)
    some = writer.generate("The animal", 15, temperature=3.0, seed=1)
    assert some != writer.generate("The animal", 15, temperature=3.0, seed=2)


def test_a_stream_can_be_left(writer):
    state = torch.get_rng_state()
    stream = writer.stream("The animal", 30)
    next(stream, None)
    stream.close()
    assert torch.is_grad_enabled() and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("family", ["bert", "bert-mlm"])
def test_an_encoder_does_not_write(family):
    model = open_own(tiny.folder(family), family)
    for ask in (model.generate, lambda text: list(model.stream(text))):
        with pytest.raises(EyelineError, match=r"reads and does not write: generate\(\) needs"):
            ask("The animal")


def test_too_long_or_nothing():
    model = open_own(tiny.folder("gpt2"), "gpt2")
    with pytest.raises(EyelineError, match=r"20 are to come: gpt2 reads at most 64"):
        model.generate("animal " * 50)
    with pytest.raises(EyelineError, match="no token"):
        model.generate("")


def test_what_an_encoder_decoder_writes():
    model, theirs = open_own(tiny.folder("t5"), "t5"), tiny.loaded("t5")
    ids = model.write(model.inputs(model.encode(tiny.TEXT)), 9)
    assert ids == theirs.write(theirs.inputs(theirs.encode(tiny.TEXT)), 9)
    assert model.target_ids(tiny.TARGET) == theirs.target_ids(tiny.TARGET)
    assert model.target_ids(tiny.TARGET)[0] == model.config.start_token_id


@pytest.mark.parametrize("family", ["bert", "bert-mlm", "gpt2", "llama", "t5"])
def test_saved_and_opened_again(family, tmp_path):
    from eyeline.capture.loading import load_huggingface

    model = open_own(tiny.folder(family), family)
    model.save(tmp_path / "copy")
    again = open_own(tmp_path / "copy", "copy")
    assert again.config == model.config and again.family == model.family
    for a, b in zip(model.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert again.encode(tiny.TEXT) == model.encode(tiny.TEXT)
    assert again.tokenizer.roles == model.tokenizer.roles
    theirs = load_huggingface(tmp_path / "copy", "theirs")
    assert theirs.family == model.family
    assert list(theirs.encode(tiny.TEXT)["input_ids"]) == model.encode(tiny.TEXT).ids
