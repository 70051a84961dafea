"""The model behind a reading: run again with the same result, listened to once per layer."""

import pytest
import torch

import _tiny_models as tiny
from eyeline import EyelineError
from eyeline.readings import Reading, read


@pytest.mark.parametrize("family", ["bert", "gpt2", "our bert", "our llama", "our t5"])
def test_it_says_the_same_again_and_keeps_it(family):
    reading = read(tiny.TEXT, tiny.named(family))
    origin = reading.origin
    said = origin.said()
    torch.testing.assert_close(said, origin.run())
    assert origin.said() is said
    torch.testing.assert_close(said, origin.loaded.run(origin.inputs, last=True))


def test_a_layer_is_listened_to_once_and_two_are_never_kept(monkeypatch):
    reading = read(tiny.TEXT, tiny.opened("llama"))
    runs = []
    listened = type(reading.origin)._listen
    monkeypatch.setattr(
        type(reading.origin), "_listen", lambda *args: runs.append(args[2]) or listened(*args)
    )
    for layer, head in ((0, 0), (0, 1), (1, 0), (1, 2), (0, 0)):
        reading.steps(layer, head, 3).verify()
    assert runs == [0, 1, 0]


def test_of_a_long_text_the_layers_behind_do_not_run(monkeypatch):
    monkeypatch.setattr("eyeline._origin._LONG", 3)
    reading = read(tiny.TEXT, tiny.opened("bert"))
    layers = []
    with torch.no_grad():
        handle = reading.loaded.network.blocks[1].register_forward_hook(lambda *_: layers.append(1))
        steps = reading.steps(0, 1, 3)
        handle.remove()
    assert layers == [] and steps.verify().max_delta < 1e-5


def test_a_reading_from_a_file_has_none(tmp_path):
    reading = read(tiny.TEXT, tiny.opened("bert"))
    reading.save(tmp_path / "r.safetensors")
    loaded = Reading.load(tmp_path / "r.safetensors")
    assert loaded.loaded is None
    with pytest.raises(EyelineError, match="loaded from a file, without bert"):
        _ = loaded.origin
