"""What was saved is whole, or what was there before is still there."""

import os

import pytest
import torch

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.models import saving
from eyeline.models.llama import Llama, LlamaConfig
from eyeline.models.opening import open_own
from eyeline.models.saving import save, tensors_of
from eyeline.nn.rotary import Stretch

SMALL = {"vocab_size": 50, "embed_dim": 16, "num_layers": 1, "num_heads": 2, "hidden_dim": 24}


def test_nothing_but_what_belongs_there(tmp_path):
    save(Llama(LlamaConfig(**SMALL)), tmp_path / "a" / "b")
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["config.json", "model.safetensors"]
    assert (tmp_path / "a" / "b" / "config.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("at", range(1, 9))
def test_a_full_disk_leaves_the_old_checkpoint(at, tmp_path, monkeypatch):
    """Every write, flush and rename fails once; what was there stays, and opens."""
    model = open_own(tiny.folder("llama"), "old")
    model.save(tmp_path / "model")
    before = {p.name: p.read_bytes() for p in (tmp_path / "model").iterdir()}
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(1)
    calls = []

    def failing(real):
        def call(*arguments, **named):
            calls.append(real)
            if len(calls) == at:
                raise OSError(28, "No space left on device")
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(saving.tempfile, "mkstemp", failing(saving.tempfile.mkstemp))
    with pytest.raises(EyelineError, match=r"No space left on device; what was saved there before"):
        model.save(tmp_path / "model")
    monkeypatch.undo()
    names = {p.name for p in (tmp_path / "model").iterdir()}
    assert names == before.keys()
    again = open_own(tmp_path / "model", "again")  # one or the other, never a mixture of halves
    assert again.network.config == model.network.config
    if at <= 2:  # before the first file was whole
        assert {p.name: p.read_bytes() for p in (tmp_path / "model").iterdir()} == before


def test_what_the_library_says_when_the_disk_is_full(tmp_path, monkeypatch):
    import safetensors

    def full(*_, **__):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(saving.safetensors.torch, "save_file", full)
    with pytest.raises(EyelineError, match="No space left"):
        save(Llama(LlamaConfig(**SMALL)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EyelineError, match="cannot save to"):
        save(Llama(LlamaConfig(**SMALL)), tmp_path / "file")


def test_what_config_json_has_no_words_for(tmp_path):
    stretch = Stretch(divisors=(1.0, 2.0, 3.0, 4.0))
    with pytest.raises(EyelineError, match="cannot save Llama: rotary positions with a divisor"):
        save(Llama(LlamaConfig(**SMALL, rope_stretch=stretch)), tmp_path)


def test_tensors_are_detached_and_whole():
    network = Llama(LlamaConfig(**SMALL))
    found = tensors_of(network)
    assert all(not t.requires_grad and t.is_contiguous() for t in found.values())
    assert set(found) >= {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"}
