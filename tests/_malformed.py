"""More than a hundred checkpoints that must not be opened, built byte by byte and always the same.

`CORPUS` maps a name to a function that spoils a good folder (or writes a file beside it) and gives
the path to open.
"""

import json
import shutil
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

import _tiny_models as tiny
from eyeline.models.llama import Llama, LlamaConfig
from eyeline.models.saving import save
from eyeline.models.tokenizer import TextTokenizer

Spoil = Callable[[Path], Path | None]
CORPUS: dict[str, Spoil] = {}


@cache
def good(root: Path) -> Path:
    """A folder that opens: a tiny Llama with its tokenizer."""
    folder = root / "good"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400, embed_dim=16, num_layers=2, num_heads=2, hidden_dim=24, max_length=32
    )
    backend = tiny.tokenizer("bytes").backend_tokenizer
    roles = {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}
    save(Llama(config), folder, TextTokenizer(backend, roles))
    return folder


def build(name: str, root: Path, target: Path) -> Path:
    """The malformed checkpoint of that name, and what to open of it."""
    folder = shutil.copytree(good(root), target)
    return CORPUS[name](folder) or folder


def case(name: str) -> Callable[[Spoil], Spoil]:
    def add(spoil: Spoil) -> Spoil:
        assert name not in CORPUS
        CORPUS[name] = spoil
        return spoil

    return add


# --- safetensors: the header --------------------------------------------------------------------


def written(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def weights(content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(content)

    return spoil


EIGHT = bytes(8)
HEADERS: dict[str, bytes] = {
    "nothing": b"",
    "seven bytes": bytes(7),
    "no header": written(b""),
    "a header of one byte": written(b"{"),
    "a header beyond the file": written(b"{}", length=3),
    "a header of 2^63 bytes": written(b"{}", length=2**63),
    "a header of 2^64 - 1 bytes": written(b"{}", length=2**64 - 1),
    "no JSON": written(b"weights!"),
    "an array": written([1, 2]),
    "a string": written(b'"weights"'),
    "a number": written(b"12345"),
    "null": written(b"null"),
    "blanks": written(b"   \n  "),
    "no UTF-8": written(b'{"a\xff": 1}'),
    "UTF-16": written('{"a": 1}'.encode("utf-16")),
    "a hundred thousand brackets": written(b"[" * 100_000),
    "fifty thousand objects": written(b'{"a":' * 50_000),
    "a tensor twice": written(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        EIGHT,
    ),
    "a key twice": written(
        b'{"a":{"dtype":"F32","dtype":"F64","shape":[2],"data_offsets":[0,8]}}', EIGHT
    ),
    "a number of five thousand digits": written(b'{"a":' + b"9" * 5000 + b"}"),
    "metadata that is a list": written({"__metadata__": [1]}),
    "metadata of numbers": written({"__metadata__": {"format": 1}}),
    "an entry that is a list": written({"a": [1]}, EIGHT),
    "an entry that is null": written({"a": None}, EIGHT),
    "no dtype": written({"a": {"shape": [2], "data_offsets": [0, 8]}}, EIGHT),
    "no shape": written({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, EIGHT),
    "no offsets": written({"a": {"dtype": "F32", "shape": [2]}}, EIGHT),
    "a key too many": written({"a": entry() | {"code": "import os"}}, EIGHT),
    "an unknown dtype": written({"a": entry("F128")}, EIGHT),
    "a dtype that is a number": written({"a": entry(32)}, EIGHT),
    "a negative width": written({"a": entry(shape=(-2,))}, EIGHT),
    "half a number": written({"a": entry(shape=(2.5,))}, EIGHT),
    "a width that is true": written({"a": entry(shape=(True, 2))}, EIGHT),
    "a width in words": written({"a": entry(shape=("2",))}, EIGHT),
    "a width of NaN": written(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', EIGHT),
    "a width of infinity": written(
        b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}}', EIGHT
    ),
    "two thousand dimensions": written({"a": entry(shape=(1,) * 2000)}, EIGHT),
    "a product beyond 2^64": written({"a": entry(shape=(2**32, 2**32, 2))}, EIGHT),
    "a product that wraps around to 2": written({"a": entry(shape=(2**33, 2**31 + 1))}, EIGHT),
    "a width of 2^62": written({"a": entry(shape=(2**62,))}, EIGHT),
    "a negative offset": written({"a": entry(offsets=(-8, 0))}, EIGHT),
    "offsets backwards": written({"a": entry(offsets=(8, 0))}, EIGHT),
    "three offsets": written({"a": entry(offsets=(0, 4, 8))}, EIGHT),
    "offsets in words": written({"a": entry(offsets=("0", "8"))}, EIGHT),
    "offsets beyond the file": written({"a": entry(shape=(2**30,), offsets=(0, 2**32))}, EIGHT),
    "overlapping tensors": written({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "one tensor inside another": written(
        {"a": entry(shape=(4,), offsets=(0, 16)), "b": entry(offsets=(4, 12))}, bytes(16)
    ),
    "a gap": written({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "a gap at the start": written({"a": entry(offsets=(4, 12))}, bytes(12)),
    "a byte too few": written({"a": entry()}, bytes(7)),
    "a byte too many": written({"a": entry()}, bytes(9)),
    "fewer bytes than the shape": written({"a": entry(shape=(3,))}, EIGHT),
    "more bytes than the shape": written({"a": entry(shape=(1,))}, EIGHT),
    "a line break in a name": written({"a\nb": entry()}, EIGHT),
    "a zero byte in a name": written({"a\0b": entry()}, EIGHT),
    "an escape sequence in a name": written({"\x1b[2Ja": entry()}, EIGHT),
    "a name of two thousand letters": written({"a" * 2000: entry()}, EIGHT),
    "thirty thousand empty tensors": written(
        {f"t{n}": entry(shape=(0,), offsets=(0, 0)) for n in range(30_000)}
    ),
    "a hundred thousand empty tensors": written(
        {f"t{n}": entry(shape=(0,), offsets=(0, 0)) for n in range(100_000)}
    ),
    "a pickle": b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00true\x85R.",
    "a zip, as torch.save writes": b"PK\x03\x04" + bytes(60),
    "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 4,
    "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
}
for _name, _content in HEADERS.items():
    CORPUS[f"safetensors: {_name}"] = weights(_content)


# --- weights that do not fit config.json --------------------------------------------------------


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Spoil:
    def spoil(folder: Path) -> None:
        import safetensors.torch

        path = folder / "model.safetensors"
        found = safetensors.torch.load_file(path)
        change(found)
        safetensors.torch.save_file({n: t.contiguous() for n, t in found.items()}, path)

    return spoil


def _without(found: dict[str, torch.Tensor]) -> None:
    del found[Q_PROJ]


Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
CORPUS |= {
    "weights: one is missing": tensors(_without),
    "weights: one too many": tensors(
        lambda t: t.__setitem__("model.layers.0.self_attn.q_norm.weight", torch.ones(8))
    ),
    "weights: a layer too many": tensors(
        lambda t: t.update(
            {n.replace("layers.1", "layers.2"): v.clone() for n, v in dict(t).items()}
        )
    ),
    "weights: one of another width": tensors(lambda t: t.__setitem__(Q_PROJ, torch.ones(16, 15))),
    "weights: one of another rank": tensors(lambda t: t.__setitem__(Q_PROJ, torch.ones(256))),
    "weights: one of integers": tensors(
        lambda t: t.__setitem__(Q_PROJ, torch.ones(16, 16, dtype=torch.int32))
    ),
    "weights: one of booleans": tensors(
        lambda t: t.__setitem__(Q_PROJ, torch.ones(16, 16, dtype=torch.bool))
    ),
    "weights: one of eight bits": tensors(
        lambda t: t.__setitem__(Q_PROJ, t[Q_PROJ].to(torch.float8_e4m3fn))
    ),
    "weights: none at all": tensors(lambda t: t.clear()),
    "weights: of another model": tensors(
        lambda t: [t.__setitem__(f"h.{n}", t.pop(n)) for n in list(t)] and None
    ),
}


# --- config.json --------------------------------------------------------------------------------


def config(**change: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return spoil


def config_file(content: bytes | None) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.unlink() if content is None else path.write_bytes(content)

    return spoil


CORPUS |= {
    "config: missing": config_file(None),
    "config: empty": config_file(b""),
    "config: no JSON": config_file(b"model_type: llama"),
    "config: a list": config_file(b"[]"),
    "config: brackets without end": config_file(b"[" * 200_000),
    "config: no UTF-8": config_file(b'{"model_type": "\xff"}'),
    "config: a hundred thousand objects": config_file(
        b'{"model_type": "llama", "x": [' + b"{}," * 100_000 + b"{}]}"
    ),
    "config: a thousand layers": config(num_hidden_layers=1000),
    "config: a billion layers": config(num_hidden_layers=10**9),
    "config: no layers": config(num_hidden_layers=0),
    "config: half a layer": config(num_hidden_layers=1.5),
    "config: layers in words": config(num_hidden_layers="two"),
    "config: a width of 2^50": config(hidden_size=2**50),
    "config: a width that the weights have not": config(hidden_size=2**26),
    "config: another vocabulary": config(vocab_size=399),
    "config: a vocabulary of 10^8": config(vocab_size=10**8),
    "config: heads that do not fit": config(num_attention_heads=3, head_dim=None),
    "config: groups that do not fit": config(num_key_value_heads=3),
    "config: an odd head": config(head_dim=7),
    "config: a negative epsilon": config(rms_norm_eps=-1.0),
    "config: rotary positions without a factor": config(rope_parameters={"rope_type": "linear"}),
    "config: rotary positions in words": config(rope_parameters="llama3"),
    "config: rotary positions with a factor of words": config(
        rope_parameters={"rope_type": "linear", "factor": "4"}
    ),
    "config: factors of another width": config(
        rope_parameters={
            "rope_type": "longrope",
            "short_factor": [1.0] * 3,
            "long_factor": [1.0] * 3,
        }
    ),
}


# --- tokenizer.json -----------------------------------------------------------------------------


def tokenizer(change: Callable[[dict[str, Any]], None]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def tokenizer_file(content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "tokenizer.json").write_bytes(content)

    return spoil


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _replaces(*contents: str) -> dict[str, Any]:
    one = [{"type": "Replace", "pattern": {"String": "a"}, "content": c} for c in contents]
    return {"type": "Sequence", "normalizers": one}


def _deep(depth: int) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "NFC"}
    for _ in range(depth):
        part = {"type": "Sequence", "normalizers": [part]}
    return part


def _split(pattern: str) -> Callable[[dict[str, Any]], None]:
    rule = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return lambda c: c.update(pre_tokenizer=rule)


CORPUS |= {
    "tokenizer: missing": _without_tokenizer,
    "tokenizer: empty": tokenizer_file(b""),
    "tokenizer: no JSON": tokenizer_file(b"<html>"),
    "tokenizer: a list": tokenizer_file(b"[]"),
    "tokenizer: an empty object": tokenizer_file(b"{}"),
    "tokenizer: brackets without end": tokenizer_file(b"[" * 100_000),
    "tokenizer: no UTF-8": tokenizer_file(b"\xff\xfe"),
    "tokenizer: no model": tokenizer(lambda c: c.pop("model") and None),
    "tokenizer: an unknown model": tokenizer(lambda c: c["model"].update(type="Neural")),
    "tokenizer: two tokens with one number": tokenizer(
        lambda c: c["model"]["vocab"].update({"one": 70, "two": 70})
    ),
    "tokenizer: a negative number": tokenizer(lambda c: c["model"]["vocab"].update(one=-1)),
    "tokenizer: a number of 2^40": tokenizer(lambda c: c["model"]["vocab"].update(one=2**40)),
    "tokenizer: a number in words": tokenizer(lambda c: c["model"]["vocab"].update(one="1")),
    "tokenizer: a merge of what does not exist": tokenizer(
        lambda c: c["model"]["merges"].append(["no", "such"])
    ),
    "tokenizer: merges that are numbers": tokenizer(lambda c: c["model"].update(merges=[1, 2])),
    "tokenizer: an added token with another's number": tokenizer(
        lambda c: c["added_tokens"].append(c["added_tokens"][0] | {"content": "<x>", "id": 50})
    ),
    "tokenizer: an added token with a number of 2^40": tokenizer(
        lambda c: c["added_tokens"].append(c["added_tokens"][0] | {"content": "<x>", "id": 2**40})
    ),
    "tokenizer: added tokens that are no list": tokenizer(
        lambda c: c.update(added_tokens={"a": 1})
    ),
    "tokenizer: ten letters become five million": tokenizer(
        lambda c: c.update(normalizer=_replaces(*["a" * 10] * 6))
    ),
    "tokenizer: a letter becomes a novel": tokenizer(
        lambda c: c.update(normalizer=_replaces("a" * 10_000))
    ),
    "tokenizer: a loop in a loop": tokenizer(_split("(a+)+$")),
    "tokenizer: a loop in a loop, hidden": tokenizer(_split(r"(?:x|(?:\w*[ab])*)*y")),
    "tokenizer: a pattern of ten thousand letters": tokenizer(_split("a" * 10_000)),
    "tokenizer: a pattern that is none": tokenizer(_split("(((")),
    "tokenizer: a hundred rules": tokenizer(lambda c: c.update(normalizer=_replaces(*["b"] * 100))),
    "tokenizer: rules thirty deep": tokenizer(lambda c: c.update(normalizer=_deep(30))),
    "tokenizer: an unknown rule": tokenizer(lambda c: c.update(normalizer={"type": "Shell"})),
    "tokenizer: Unigram without scores": tokenizer(
        lambda c: c.update(model={"type": "Unigram", "vocab": [["a"], ["b"]], "unk_id": 0})
    ),
    "tokenizer: Unigram, an unknown that is not there": tokenizer(
        lambda c: c.update(model={"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7})
    ),
    "tokenizer: larger than the embeddings": tokenizer(
        lambda c: c["model"]["vocab"].update({f"new{n}": 1000 + n for n in range(20)})
    ),
    "tokenizer: settings that are a list": lambda folder: (
        (folder / "tokenizer_config.json").write_text("[]") and None
    ),
}


# --- paths --------------------------------------------------------------------------------------


def index(*shards: Any, **content: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
        outside = folder.parent / "outside.safetensors"
        shutil.copy(folder / "model-1.safetensors", outside)
        table = {f"t{n}": shard for n, shard in enumerate(shards)}
        whole = {"weight_map": table} | content
        text = json.dumps(whole).replace("ABSOLUTE", str(outside))
        (folder / "model.safetensors.index.json").write_text(text)

    return spoil


def _link_outside(folder: Path) -> None:
    outside = folder.parent / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)


def _only(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / name)

    return spoil


def _overlapping_shards(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "model-2.safetensors")
    index("model-1.safetensors", "model-2.safetensors")(folder)


def _file(name: str, content: bytes) -> Spoil:
    def spoil(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return spoil


CORPUS |= {
    "path: a shard above the folder": index("../outside.safetensors"),
    "path: an absolute shard": index("ABSOLUTE"),
    "path: a shard in a folder": index("sub/model-1.safetensors"),
    "path: a shard of Windows": index("..\\outside.safetensors"),
    "path: a shard that is a pickle": index("pytorch_model.bin"),
    "path: a shard that is a number": index(3),
    "path: a shard that is missing": index("model-1.safetensors", "model-2.safetensors"),
    "path: an index without a table": index(weight_map=[1]),
    "path: an empty index": index(),
    "path: a tensor in two shards": _overlapping_shards,
    "path: a link out of the folder": _link_outside,
    "path: only a pickle": _only("pytorch_model.bin"),
    "path: only a checkpoint of torch": _only("model.pt"),
    "path: no weights": _only("notes.txt"),
    "path: a file of another kind": _file("weights.onnx", b"\x08\x01"),
}


# --- GGUF ---------------------------------------------------------------------------------------


def gguf(*parts: bytes, version: int = 3, num_tensors: int = 0, num_pairs: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_pairs) + b"".join(parts)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def info(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return (
        text(name)
        + struct.pack("<I", len(shape))
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", kind, offset)
    )


def pad(content: bytes, data: int = 0) -> bytes:
    return content + bytes(-len(content) % 32) + bytes(data)


STRING, ARRAY, U32 = 8, 9, 4
GGUFS: dict[str, bytes] = {
    "nothing": b"",
    "three bytes": b"GGU",
    "another magic": b"GGML" + bytes(60),
    "big-endian": b"FUGG" + bytes(60),
    "version 1": gguf(version=1),
    "version 99": gguf(version=99),
    "cut in its counts": gguf()[:20],
    "2^63 tensors": gguf(num_tensors=2**63),
    "2^63 pairs": gguf(num_pairs=2**63),
    "more tensors than bytes": gguf(num_tensors=1000),
    "a key of 2^62 bytes": gguf(struct.pack("<Q", 2**62), num_pairs=1),
    "a key beyond the file": gguf(struct.pack("<Q", 100), b"key", num_pairs=1),
    "a key that is no UTF-8": gguf(
        text(b"\xff"), struct.pack("<II", U32, 1), bytes(8), num_pairs=1
    ),
    "a key twice": gguf(*[text("a") + struct.pack("<II", U32, 1)] * 2, num_pairs=2),
    "a value of an unknown type": gguf(text("a"), struct.pack("<II", 77, 1), num_pairs=1),
    "a value that is cut off": gguf(text("a"), struct.pack("<I", U32), bytes(2), num_pairs=1),
    "an array of 2^63 bytes": gguf(  # the file of 49 bytes that hangs the gguf package
        text("a"), struct.pack("<IIQ", ARRAY, 0, 2**63), num_pairs=1
    ),
    "an array of 2^63 strings": gguf(
        text("a"), struct.pack("<IIQ", ARRAY, STRING, 2**63), num_pairs=1
    ),
    "an array of arrays": gguf(
        text("a"), struct.pack("<IIQ", ARRAY, ARRAY, 1), bytes(12), num_pairs=1
    ),
    "an array of an unknown type": gguf(
        text("a"), struct.pack("<IIQ", ARRAY, 50, 1), bytes(8), num_pairs=1
    ),
    "a string in an array beyond the file": gguf(
        text("a"), struct.pack("<IIQQ", ARRAY, STRING, 1, 2**40), bytes(8), num_pairs=1
    ),
    "an array of strings that ends early": gguf(
        text("a"), struct.pack("<IIQ", ARRAY, STRING, 3), text("x" * 20), num_pairs=1
    ),
    "a string in an array that is no UTF-8": gguf(
        text("a"), struct.pack("<IIQ", ARRAY, STRING, 1), text(b"\xff"), num_pairs=1
    ),
    "two million strings": gguf(
        text("a"), struct.pack("<IIQ", ARRAY, STRING, 2_000_000), bytes(16_000_000), num_pairs=1
    ),
    "an alignment of 0": gguf(
        text("general.alignment"), struct.pack("<II", U32, 0), bytes(8), num_pairs=1
    ),
    "an alignment of 3": gguf(
        text("general.alignment"), struct.pack("<II", U32, 3), bytes(8), num_pairs=1
    ),
    "an alignment of 2^30": gguf(
        text("general.alignment"), struct.pack("<II", U32, 2**30), bytes(8), num_pairs=1
    ),
    "an alignment in words": gguf(
        text("general.alignment"), struct.pack("<I", STRING), text("32"), num_pairs=1
    ),
    "a tensor of rank 0": pad(gguf(info("t", ()), bytes(8), num_tensors=1)),
    "a tensor of rank 2^31": gguf(text("t"), struct.pack("<I", 2**31), bytes(16), num_tensors=1),
    "a tensor of width 0": pad(gguf(info("t", (0,)), num_tensors=1)),
    "a tensor of 2^63 numbers": pad(gguf(info("t", (2**63,)), num_tensors=1)),
    "a tensor whose size wraps around": pad(gguf(info("t", (2**39, 2**39)), num_tensors=1), 64),
    "a tensor of an unknown type": pad(gguf(info("t", (32,), kind=999), num_tensors=1), 128),
    "a row that is no whole block": pad(gguf(info("t", (33,), kind=2), num_tensors=1), 64),
    "a tensor beyond the file": pad(gguf(info("t", (1024,)), num_tensors=1), 32),
    "a tensor at an odd offset": pad(gguf(info("t", (8,), offset=7), num_tensors=1), 64),
    "a tensor at an offset of 2^63": pad(gguf(info("t", (8,), offset=2**63), num_tensors=1), 64),
    "overlapping tensors": pad(
        gguf(info("a", (16,)), info("b", (8,), offset=32), num_tensors=2), 96
    ),
    "two tensors at one place": pad(gguf(info("a", (8,)), info("b", (8,)), num_tensors=2), 64),
    "a gap between tensors": pad(
        gguf(info("a", (8,)), info("b", (8,), offset=96), num_tensors=2), 128
    ),
    "a tensor twice": pad(gguf(info("a", (8,)), info("a", (8,), offset=32), num_tensors=2), 64),
    "bytes behind the last tensor": pad(gguf(info("a", (8,)), num_tensors=1), 4096),
    "no architecture": pad(gguf()),
    "another architecture": pad(
        gguf(text("general.architecture"), struct.pack("<I", STRING), text("mamba"), num_pairs=1)
    ),
    "an architecture that is a number": pad(
        gguf(text("general.architecture"), struct.pack("<II", U32, 7), num_pairs=1)
    ),
    "a Llama without sizes": pad(
        gguf(text("general.architecture"), struct.pack("<I", STRING), text("llama"), num_pairs=1)
    ),
}
for _name, _content in GGUFS.items():
    CORPUS[f"gguf: {_name}"] = _file("model.gguf", _content)
