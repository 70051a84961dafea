"""A folder or a file becomes one of our own networks, or one line says why not."""

import json
import shutil

import pytest
import safetensors.torch
import torch

import _tiny_models as tiny
from eyeline._errors import CheckpointError, EyelineError
from eyeline.models.opening import Unsupported, open_own

OWN = ("bert", "bert-mlm", "gpt2", "llama", "t5")


@pytest.fixture
def copy(tmp_path):
    """A copy of a family's folder, to be spoilt."""
    return lambda family: shutil.copytree(tiny.folder(family), tmp_path / family)


@pytest.mark.parametrize("family", OWN)
def test_our_own_networks(family):
    model = open_own(tiny.folder(family), family)
    theirs = tiny.loaded(family)
    assert type(model.network).__module__.startswith("eyeline.models.")
    assert not model.network.training
    assert (model.name, model.source) == (family, str(tiny.folder(family)))
    for aspect in ("family", "limit", "num_layers", "end_ids"):
        assert getattr(model, aspect) == getattr(theirs, aspect), aspect
    for text in (tiny.TEXT, tiny.TARGET, "東京 🙂 naïve\n\ttabs"):
        one, other = model.encode(text), theirs.encode(text)
        for name in ("input_ids", "special_tokens_mask"):
            assert list(one[name]) == list(other[name])
        assert [tuple(o) for o in one["offset_mapping"]] == [
            tuple(o) for o in other["offset_mapping"]
        ]
        if family != "t5":
            found, expected = (m.run(m.inputs(m.encode(text))) for m in (model, theirs))
            assert torch.allclose(found, expected, atol=1e-5)


def test_how_it_looks():
    shown = str(open_own(tiny.folder("llama"), "tiny"))
    assert shown.splitlines()[0] == "tiny: Llama of eyeline, 0.0 M parameters, float32"
    assert "what comes next; 2 layers, up to 64 tokens" in shown
    assert f"from       {tiny.folder('llama')}" in shown
    assert "any length" in str(open_own(tiny.folder("t5"), "t"))
    assert "RobertaForMaskedLM of transformers" in str(tiny.loaded("roberta"))


@pytest.mark.parametrize("family", ["mistral", "roberta", "bart"])
def test_other_architectures_are_somebody_elses(family):
    with pytest.raises(Unsupported, match="the architecture"):
        open_own(tiny.folder(family), family)


def test_one_file_with_what_is_beside_it(copy):
    folder = copy("gpt2")
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    model = open_own(folder / "best.safetensors", "one file")
    assert model.generate("The animal", 4) == open_own(tiny.folder("gpt2"), "x").generate(
        "The animal", 4
    )
    assert model.source.endswith("best.safetensors")


def test_shards(copy):
    folder = copy("llama")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    names = sorted(tensors)
    table = {}
    for number, part in enumerate((names[:5], names[5:6], names[6:]), start=1):
        file = f"model-{number:05}-of-00003.safetensors"
        safetensors.torch.save_file({n: tensors[n] for n in part}, folder / file, {"format": "pt"})
        table |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    one, whole = open_own(folder, "shards"), open_own(tiny.folder("llama"), "whole")
    for a, b in zip(one.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_the_dtype_is_what_was_asked_for(copy, dtype):
    folder = copy("llama")
    path = folder / "model.safetensors"
    stored = {n: t.to(dtype) for n, t in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(stored, path, {"format": "pt"})
    assert {p.dtype for p in open_own(folder, "x").network.parameters()} == {torch.float32}
    model = open_own(folder, "x", dtype=dtype)
    assert {p.dtype for p in model.network.parameters()} == {dtype}
    logits = model.run(model.inputs(model.encode(tiny.TEXT)))
    assert logits.dtype == dtype and bool(logits.isfinite().all())
    assert isinstance(model.generate("The animal", 3), str)


def test_the_error_names_tensor_and_both_shapes(copy):
    folder = copy("gpt2")
    config = json.loads((folder / "config.json").read_text())
    config["n_inner"] = 99
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as error:
        open_own(folder, "x")
    assert (
        "shape of 'transformer.h.0.mlp.c_fc.weight': found [32, 128] (expected [32, 99], "
        "as config.json says)" in str(error.value)
    )


def test_a_token_that_has_no_vector(copy):
    """Tokens that were added are looked at when a text has one."""
    folder = copy("gpt2")
    content = json.loads((folder / "tokenizer.json").read_text())
    first = content["added_tokens"][0]
    content["added_tokens"] += [first | {"content": f"<new{n}>", "id": 5000 + n} for n in range(9)]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    model = open_own(folder, "new")
    model.run(model.inputs(model.encode("old")))
    with pytest.raises(EyelineError, match=r"'<new8>' the number 4\d\d, new has vectors for num"):
        model.inputs(model.encode("<new8>"))
