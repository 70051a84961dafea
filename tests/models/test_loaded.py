"""What `eyeline.load` gives is one thing, whoever's network it holds: both kinds agree."""

import pytest
import torch

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.models.loaded import LoadedModel

TEXT = "The animal didn't cross"


@pytest.fixture(params=["bert", "gpt2", "llama", "t5"])
def both(request):
    """The same folder, opened by transformers and by eyeline."""
    return tiny.loaded(request.param), tiny.opened(request.param)


def test_both_are_loaded_models_and_say_the_same_of_themselves(both):
    theirs, ours = both
    assert isinstance(theirs, LoadedModel) and isinstance(ours, LoadedModel)
    for what in ("limit", "num_layers", "family", "has_rotary_positions"):
        assert getattr(theirs, what) == getattr(ours, what), what
    assert set(theirs.end_ids) == set(ours.end_ids)
    assert ours.has_rotary_positions == (ours.name == "llama")


def test_it_introduces_itself(both):
    for model in both:
        lines = repr(model).splitlines()
        assert "parameters, float32" in lines[0] and lines[1].startswith("  says")
        assert f"{model.num_layers} layers" in lines[1] and "tokens" in lines[2]
    assert "of transformers" in repr(both[0]) and "of eyeline" in repr(both[1])


def test_a_text_is_read_alike(both):
    found = []
    for model in both:
        inputs = model.inputs(model.encode(TEXT))
        if model.family == "seq2seq":
            inputs = model.with_target(inputs, model.target_ids("the cat"))
        with torch.no_grad():
            found.append(model.run(inputs))
            if model.family == "causal":
                last = model.run(inputs, last=True)
                assert last.shape[0] == 1
                torch.testing.assert_close(last[0], found[-1][-1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_going_on_token_by_token_is_reading_it_whole(family):
    for model in (tiny.loaded(family), tiny.opened(family)):
        ids = model.encode(TEXT)["input_ids"]
        with torch.no_grad():
            whole = model.run(model.inputs(model.encode(TEXT)))
            more = model.continuing()
            steps = [more(ids[:3]), *(more([token]) for token in ids[3:])]
        torch.testing.assert_close(torch.stack(steps), whole[2:], atol=1e-4, rtol=1e-4)


def test_what_does_not_write_says_so():
    for model in (tiny.loaded("bert"), tiny.opened("bert")):
        with pytest.raises(EyelineError):
            model.generate(TEXT)
