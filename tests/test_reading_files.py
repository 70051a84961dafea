"""A reading as data, and back."""

import json

import pytest

import _tiny_models as tiny
from eyeline._reading_files import from_data, to_data
from eyeline.readings import Reading, read


@pytest.mark.parametrize("family", ["our gpt2", "our t5", "bert-mlm"])
def test_there_and_back_through_json(family):
    text = "the cat [MASK] on" if family == "bert-mlm" else tiny.TEXT
    target = {"target": tiny.TARGET} if family == "our t5" else {}
    reading = read(text, tiny.named(family), **target)
    again = from_data(json.loads(json.dumps(to_data(reading))))
    for name in ("text", "tokens", "target", "target_tokens", "model", "source", "family"):
        assert again[name] == getattr(reading, name), name
    assert again["predictions"] == reading.predictions


def test_the_target_is_kept_in_the_file(tmp_path):
    reading = read(tiny.TEXT, tiny.opened("t5"), target=tiny.TARGET)
    reading.save(tmp_path / "r.safetensors")
    assert Reading.load(tmp_path / "r.safetensors").target == tiny.TARGET


def test_what_is_missing_is_an_error():
    data = to_data(read(tiny.TEXT, tiny.opened("gpt2")))
    with pytest.raises(KeyError):
        from_data({n: v for n, v in data.items() if n != "predictions"})
