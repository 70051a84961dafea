import pytest
import torch

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.readings import read


def sight_of(name, text=tiny.TEXT, kind=None, **options):
    reading = read(text, tiny.named(name), **options)
    return reading, reading.sight(kind)


def test_both_ways_and_back_only():
    _, both = sight_of("our bert")
    assert bool(both.may.all()) and "in front and behind" in both.rule
    _, back = sight_of("our gpt2")
    assert torch.equal(back.may, torch.ones_like(back.may).tril())
    assert back.rule == "a token may look back and at itself, never ahead"
    assert back.ahead(3) == 0
    row = both.does[3]
    assert both.ahead(3) == pytest.approx(float(row[4:].sum()))
    assert both.back(3) == pytest.approx(float(row[:3].sum()))
    assert both.ahead(3) + both.back(3) + float(row[3]) == pytest.approx(1)


def test_a_window_is_the_models_own_rule():
    _, sight = sight_of("mistral")
    assert "where the model's mask lets it" in sight.rule
    assert sight.may[9].nonzero().flatten().tolist() == [6, 7, 8, 9]
    # one layer of two has a window: what either lets through may be seen
    _, mixed = sight_of("gemma2")
    assert torch.equal(mixed.may, torch.ones_like(mixed.may).tril())


def test_what_it_does_is_the_mean_of_all_weights():
    reading, sight = sight_of("our llama")
    expected = torch.stack([m.dense()[0] for m in reading.decoder.values()]).double().mean((0, 1))
    assert torch.allclose(sight.does, expected, atol=1e-6)
    assert (sight.does[~sight.may] == 0).all()


def test_cross_attention():
    reading, sight = sight_of("our t5", kind="cross", target=tiny.TARGET)
    assert sight.may.shape == (len(reading.target_tokens), len(reading.tokens))
    assert bool(sight.may.all())
    made = sight.to_dict()
    assert made["kind"] == "cross" and len(made["does"]) == len(reading.target_tokens)


def test_too_long_for_a_table():
    reading, _ = sight_of("our t5", target="O")
    long = read("it was " * 400, tiny.named("our t5"), target="O")
    with pytest.raises(EyelineError, match="a table of all pairs is drawn up to 512"):
        long.sight()
    assert reading.sight("decoder").kind == "decoder"
