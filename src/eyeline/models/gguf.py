"""GGUF files of the Llama family: opened as they are, or turned into a folder of Hugging Face.

The numbers are those of the file, expanded to float32: nothing is rounded again. Two things differ
between the layouts. The file lists a matrix's shape backwards. And it stores the rows of the query
and key projections so that the two halves of a rotated pair are neighbours (2i, 2i + 1), where
Hugging Face's Llama keeps them half a head apart (i, i + head_dim / 2); the rows are put back.
"""

import importlib
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from eyeline._errors import CheckpointError, EyelineError
from eyeline.models._gguf_header import BLOCKS, Header, TensorInfo, read_header
from eyeline.models._gguf_tokenizer import token_ids, tokenizer_of, write_tokenizer
from eyeline.models._progress import Progress, silent
from eyeline.models._safetensors_file import Entry
from eyeline.models._tensor_file import write_float32
from eyeline.models.tokenizer import TextTokenizer

_FACTORS = "rope_freqs.weight"
"""Llama 3's stretch of the rotary positions, as llama.cpp writes it: a divisor for each pair."""

_AT_ONCE = 2**19
"""Numbers that are expanded at a time."""

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class Converted:
    """What `convert` made.

    Attributes:
        folder: The folder in Hugging Face layout.
        sha256: sha256 of its `model.safetensors`.
        types: The number types that the weights had, for example `("F32", "Q4_1", "Q8_0")`.
    """

    folder: Path
    sha256: str
    types: tuple[str, ...]


class GGUFFile:
    """The tensors of a GGUF file under Hugging Face's names: a `Checkpoint`.

    Args:
        path: The file: the Llama architecture.

    Attributes:
        header: Its header.
        config: What its config.json would say.

    Raises:
        CheckpointError: If the file is damaged, or of another architecture.
        EyelineError: If the `gguf` package is missing, which knows the number types.
    """

    def __init__(self, path: Path) -> None:
        self._quants = _gguf_package()
        self.path = path
        self.header = read_header(path)
        self.config = _config(self.header)
        self._source = {new: old for old, new in _names(self.header, self.config).items()}
        if _FACTORS in self.header.tensors:
            factors = self._expanded(_FACTORS)
            if not (np.isfinite(factors) & (factors > 0)).all():
                raise _broken(self.header, _FACTORS, "numbers", "positive numbers")
            self.config["rope_parameters"]["divisors"] = factors.tolist()
        self.entries = {new: self._entry(old) for new, old in self._source.items()}

    def read(self, name: str) -> Tensor:
        """A tensor's numbers, expanded to float32."""
        return torch.from_numpy(self.numbers(name))

    def numbers(self, name: str) -> np.ndarray:
        """The same as an array: rows as Hugging Face has them."""
        old = self._source[name]
        return _unpermuted(old, self._expanded(old), self.config)

    @property
    def types(self) -> tuple[str, ...]:
        """The number types of the weights."""
        tensors = self.header.tensors
        return tuple(sorted({tensors[old].type_name for old in self._source.values()}))

    def _entry(self, old: str) -> Entry:
        info = self.header.tensors[old]
        return Entry(info.shape, info.type_name, info.offset, info.num_bytes)

    def _expanded(self, old: str) -> np.ndarray:
        info = self.header.tensors[old]
        with self.path.open("rb") as file:
            raw = _bytes_of(file, self.header, info)
        return _expand(self._quants, raw, info).reshape(info.shape)


def open_gguf(
    path: Path, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, TextTokenizer, dict[str, Any]]:
    """The network of a GGUF file, its tokenizer, and what its config.json would say.

    Raises:
        CheckpointError: If the file is damaged, or of another architecture or tokenizer.
        EyelineError: If the `gguf` package is missing.
    """
    from eyeline.models.opening import make_network

    file = GGUFFile(path)
    tokenizer = tokenizer_of(file.header)
    return make_network(file.config, file, path, dtype), tokenizer, file.config


def convert(source: Path, folder: Path, progress: Progress | None = None) -> Converted:
    """Write the model of a GGUF file as a folder in Hugging Face layout.

    Args:
        source: The GGUF file: the Llama architecture.
        folder: Where to write; made when it is missing.
        progress: Called with `"convert"`, the tensors done, and their number.

    Returns:
        The folder and what is worth recording about it.

    Raises:
        CheckpointError: If the file is damaged, or of another architecture or tokenizer.
        EyelineError: If the `gguf` package is missing, which knows the number types.
    """
    file = GGUFFile(source)
    if "divisors" in file.config["rope_parameters"]:
        raise _broken(file.header, "tensors", repr(_FACTORS), "only what config.json can say")
    tokenizer = tokenizer_of(file.header)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, file.config["max_position_embeddings"], folder)
    _write_json(folder / "config.json", file.config)
    ids = {key: value for key, value in file.config.items() if key.endswith("_token_id")}
    _write_json(folder / "generation_config.json", ids)

    def tensors() -> Iterator[np.ndarray]:
        report = progress or silent
        for done, name in enumerate(file.entries):
            report("convert", done, len(file.entries))
            weights = file.numbers(name)
            if not np.isfinite(weights).all():
                warnings.warn(f"{source}: tensor {name!r} holds NaN or inf", stacklevel=2)
            yield weights
        report("convert", len(file.entries), len(file.entries))

    shapes = {name: entry.shape for name, entry in file.entries.items()}
    sha256 = write_float32(folder / "model.safetensors", shapes, tensors())
    return Converted(folder=folder, sha256=sha256, types=file.types)


def _gguf_package() -> Any:
    """The module that expands the number types."""
    try:
        return importlib.import_module("gguf.quants")
    except ImportError as error:
        raise EyelineError(
            'reading a GGUF file needs the gguf package: pip install "eyeline[hf]"'
        ) from error


def _expand(quants: Any, raw: np.ndarray, info: TensorInfo) -> np.ndarray:
    """The numbers of a tensor as float32, from its bytes.

    Some megabytes at a time: the package's own loop takes sixteen rows, and four times as long.
    """
    if info.type_name in ("F32", "F16"):
        return raw.view(f"<f{4 if info.type_name == 'F32' else 2}").astype(np.float32)
    kind = getattr(quants, info.type_name)
    size, length = BLOCKS[info.type_name]
    blocks = raw.reshape(-1, length)
    numbers = np.empty((len(blocks), size), dtype=np.float32)
    step = _AT_ONCE // size
    for first in range(0, len(blocks), step):
        part = slice(first, first + step)
        numbers[part] = kind.dequantize_blocks(blocks[part])
    return numbers


def _config(header: Header) -> dict[str, Any]:
    """The fields of a Hugging Face `LlamaConfig`."""
    meta = header.metadata
    architecture = meta.get("general.architecture")
    if architecture != "llama":
        raise _broken(header, "architecture", repr(architecture), "'llama'")
    layers = _integer(header, "llama.block_count", 1_000)
    width = _integer(header, "llama.embedding_length", 1_000_000)
    heads = _integer(header, "llama.attention.head_count", 10_000)
    kv_heads = _integer(header, "llama.attention.head_count_kv", 10_000, default=heads)
    head_dim = _integer(header, "llama.attention.key_length", 10_000, default=width // heads)
    value_dim = _integer(header, "llama.attention.value_length", 10_000, default=head_dim)
    rotated = _integer(header, "llama.rope.dimension_count", 10_000, default=head_dim)
    if heads % kv_heads:
        raise _broken(header, "key/value heads", kv_heads, f"a divisor of {heads}")
    if head_dim % 2 or not head_dim == value_dim == rotated:
        found = f"key {head_dim}, value {value_dim}, rotated {rotated}"
        raise _broken(header, "head width", found, "one even number for all three")
    vocabulary = len(meta.get("tokenizer.ggml.tokens") or ())
    if _integer(header, "llama.vocab_size", 10_000_000, default=vocabulary) != vocabulary:
        raise _broken(header, "llama.vocab_size", meta["llama.vocab_size"], vocabulary)
    ids = token_ids(header)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": _integer(header, "llama.feed_forward_length", 10_000_000),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "max_position_embeddings": _integer(header, "llama.context_length", 100_000_000),
        "rms_norm_eps": _real(header, "llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(header),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in header.tensors,
        **{f"{role}_token_id": ids.get(role) for role in ("bos", "eos", "pad")},
    }


def _rope(header: Header) -> dict[str, Any]:
    """Rotary positions; a linear stretch is the only one that the format and we have in common."""
    theta = _real(header, "llama.rope.freq_base", default=10_000.0)
    keys = sorted(key for key in header.metadata if key.startswith("llama.rope.scaling."))
    kind = header.metadata.get("llama.rope.scaling.type", None if keys else "none")
    if kind == "none":
        return {"rope_type": "default", "rope_theta": theta}
    if kind != "linear":
        raise _broken(header, "rotary scaling", keys, "none, or of the type 'linear'")
    factor = _real(header, "llama.rope.scaling.factor")
    return {"rope_type": "linear", "rope_theta": theta, "factor": factor}


def _names(header: Header, config: dict[str, Any]) -> dict[str, str]:
    """The Hugging Face name of each tensor, after checking that all are there and none else."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    query_rows = config["num_attention_heads"] * config["head_dim"]
    kv_rows = config["num_key_value_heads"] * config["head_dim"]
    layer_shapes = {
        "attn_norm": (width,),
        "attn_q": (query_rows, width),
        "attn_k": (kv_rows, width),
        "attn_v": (kv_rows, width),
        "attn_output": (width, query_rows),
        "ffn_norm": (width,),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    embedding = (config["vocab_size"], width)
    names = {"token_embd.weight": "model.embed_tokens.weight"}
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": embedding}
    for layer in range(config["num_hidden_layers"]):
        for short, shape in layer_shapes.items():
            old = f"blk.{layer}.{short}.weight"
            names[old] = f"model.layers.{layer}.{_LAYER_NAMES[short]}.weight"
            shapes[old] = shape
    names["output_norm.weight"] = "model.norm.weight"
    shapes["output_norm.weight"] = (width,)
    if not config["tie_word_embeddings"]:
        names["output.weight"] = "lm_head.weight"
        shapes["output.weight"] = embedding

    if _FACTORS in header.tensors:
        shapes[_FACTORS] = (config["head_dim"] // 2,)
    for missing in sorted(names.keys() - header.tensors.keys()):
        raise _broken(header, "tensors", f"no {missing!r}", f"{len(names)} tensors of a Llama")
    for extra in sorted(header.tensors.keys() - shapes.keys()):
        raise _broken(header, "tensors", repr(extra), "only the tensors of a Llama")
    for name, shape in shapes.items():
        if header.tensors[name].shape != shape:
            raise _broken(header, f"shape of {name!r}", header.tensors[name].shape, shape)
    return names


def _bytes_of(file: BinaryIO, header: Header, info: TensorInfo) -> np.ndarray:
    """The bytes of a tensor.

    Read, not mapped: whoever truncates a mapped file kills the process that reads it.
    """
    file.seek(info.offset)
    data = file.read(info.num_bytes)
    if len(data) != info.num_bytes:
        raise _broken(header, f"bytes of {info.name!r}", len(data), info.num_bytes)
    return np.frombuffer(data, dtype=np.uint8)


def _unpermuted(name: str, weights: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Query and key rows in Hugging Face's order, everything else as it is."""
    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }.get(name.split(".")[-2])
    if heads is None:
        return weights
    pairs = weights.reshape(heads, -1, 2, weights.shape[-1])
    return pairs.swapaxes(1, 2).reshape(weights.shape)


def _integer(header: Header, key: str, limit: int, default: int | None = None) -> int:
    found = header.metadata.get(key, default)
    if type(found) is not int or not 1 <= found <= limit:
        raise _broken(header, key, found, f"a whole number from 1 to {limit}")
    return found


def _real(header: Header, key: str, default: float | None = None) -> float:
    found = header.metadata.get(key, default)
    if not isinstance(found, float) or not (math.isfinite(found) and found > 0):
        raise _broken(header, key, found, "a positive number")
    # The shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06.
    return float(str(np.float32(found)))


def _broken(header: Header, what: str, found: object, limit: object) -> CheckpointError:
    fix = "use the model's own folder in Hugging Face layout instead"
    return CheckpointError(header.path, f"GGUF {what}", found, limit=limit, fix=fix)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
