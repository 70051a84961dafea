"""A folder becomes a model, or one line says why not."""

import json
import shutil
import subprocess
import sys

import pytest
import safetensors.torch
import torch

import _tiny_models as tiny
import eyeline
from eyeline._errors import CheckpointError, EyelineError
from eyeline.capture.loading import HuggingFaceModel, load_huggingface, open_model
from eyeline.models.own import OwnModel


@pytest.fixture
def copy(tmp_path):
    """A copy of a family's folder, to be spoilt."""

    def make(family):
        return shutil.copytree(tiny.folder(family), tmp_path / family)

    return make


@pytest.mark.parametrize(
    ("family", "kind"),
    [("bert", "encoder"), ("bert-mlm", "masked"), ("gpt2", "causal"), ("t5", "seq2seq")],
)
def test_families(family, kind):
    loaded = tiny.loaded(family)
    assert loaded.family == kind and loaded.name == family
    assert not loaded.network.training
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    assert loaded.source == str(tiny.folder(family))


@pytest.mark.parametrize("family", tiny.MODELS)
def test_weights_limits_and_layers(family):
    loaded = tiny.loaded(family)
    assert loaded.limit == (None if family == "t5" else 64)
    assert loaded.num_layers == 2
    expected = tiny.network(family).state_dict()
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_half_precision_is_read_as_float32(copy):
    folder = copy("gpt2")
    path = folder / "model.safetensors"
    half = {n: t.bfloat16() for n, t in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(half, path, {"format": "pt"})
    loaded = load_huggingface(folder, "half")
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}


def test_missing_weights_are_never_invented(copy):
    folder = copy("bert")
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    gone = [n for n in tensors if "layer.1.attention" in n]
    assert gone
    kept = {n: t for n, t in tensors.items() if n not in gone}
    safetensors.torch.save_file(kept, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"no encoder\.layer\.1\.attention.* more .*Bert"):
        load_huggingface(folder, "holes")


def test_a_missing_pooler_is_no_loss(copy):
    folder = copy("bert")
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    kept = {n: t for n, t in tensors.items() if "pooler" not in n}
    assert len(kept) < len(tensors)
    safetensors.torch.save_file(kept, path, {"format": "pt"})
    load_huggingface(folder, "no pooler")


def test_a_head_that_the_file_does_not_have(copy):
    folder = copy("bert")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"no cls.*BertForMaskedLM"):
        load_huggingface(folder, "no head")


def spoil_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


def spoil_sizes(folder):
    config = json.loads((folder / "config.json").read_text())
    config["hidden_size"] = 48
    (folder / "config.json").write_text(json.dumps(config))


def spoil_kind(folder):
    (folder / "config.json").write_text('{"model_type": "nothing-known"}')


def spoil_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "nothing-known"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")


def spoil_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    "spoil", [spoil_weights, spoil_sizes, spoil_kind, spoil_code, spoil_tokenizer]
)
def test_one_line_says_what_is_wrong(copy, spoil):
    folder = copy("bert")
    spoil(folder)
    with pytest.raises(CheckpointError) as error:
        load_huggingface(folder, "spoilt")
    assert str(folder) in str(error.value) and "\n" not in str(error.value)
    assert not (folder / "ran").exists()


def test_pickles_are_never_opened(copy):
    folder = copy("bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load_huggingface(folder, "pickle")


@pytest.mark.parametrize("family", tiny.MODELS)
def test_whose_network_it_is(family):
    kind = OwnModel if family in tiny.OWN else HuggingFaceModel
    assert type(tiny.opened(family)) is kind
    assert ("eyeline" if kind is OwnModel else "transformers") in str(tiny.opened(family))


@pytest.mark.parametrize("family", tiny.OWN)
def test_our_own_families_need_no_transformers(family):
    """Neither to open nor to read, look and write."""
    target = "'it'" if family == "t5" else None
    code = f"""
import sys
import eyeline
model = eyeline.load({str(tiny.folder(family))!r})
reading = eyeline.read({tiny.TEXT!r}, model, target={target})
kind = reading.kinds[-1]
print(reading.look(1, kind=kind).sentence(), reading.steps(0, 0, 1, kind=kind).verify())
if model.family in ("causal", "seq2seq"):
    model.generate("The animal", 3)
assert not {{"transformers", "huggingface_hub"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and ": rounding" in done.stdout, done.stderr


def test_without_transformers_the_error_says_what_there_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EyelineError) as error:
        open_model(tiny.folder("mistral"), "mistral")
    message = str(error.value)
    assert "the architecture 'mistral'" in message and "bert, eyeline-transformer, gpt2" in message
    assert "pip install 'eyeline[hf]'" in message and "eyeline.watch takes any model" in message


def test_a_file_of_another_architecture_needs_its_folder():
    with pytest.raises(CheckpointError, match=r"'mistral'.*give the folder: transformers may"):
        open_model(tiny.folder("mistral") / "model.safetensors", "file")


def test_a_sentencepiece_tokenizer_is_transformers_to_convert(copy, monkeypatch):
    folder = copy("t5")
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="sentencepiece tokenizer"):
        open_model(folder, "t5")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EyelineError, match=r"converting it needs transformers"):
        open_model(folder, "t5")


def test_malformed_weights_never_reach_transformers(copy):
    folder = copy("mistral")
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="safetensors"):
        open_model(folder, "mistral")


@pytest.mark.parametrize("family", ["mistral", "bart"])
def test_transformers_models_write_too(family):
    model = tiny.opened(family)
    assert model.generate("The animal", 6) == model.generate("The animal", 6)
    how = {"temperature": 5.0, "top_k": 50, "top_p": 0.99}
    drawn = model.generate("The animal", 6, seed=1, **how)
    assert drawn == model.generate("The animal", 6, seed=1, **how)
    assert drawn != model.generate("The animal", 6, seed=2, **how)
    assert isinstance(model.generate("The animal", 6, num_beams=2), str)
    with pytest.raises(EyelineError, match=r"use generate\(\)"):
        model.stream("The animal")
    with pytest.raises(EyelineError, match="no head for it"):
        tiny.opened("roberta").generate("The animal")


def test_load_takes_dtype_and_path():
    model = eyeline.load(tiny.folder("llama"), dtype=torch.bfloat16)
    assert {p.dtype for p in model.network.parameters()} == {torch.bfloat16}
    theirs = eyeline.load(tiny.folder("mistral"), dtype=torch.bfloat16)
    assert {p.dtype for p in theirs.network.parameters()} == {torch.bfloat16}
    assert theirs.network.training is False
