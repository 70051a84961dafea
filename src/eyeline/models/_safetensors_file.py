"""Reads safetensors files and believes nothing that they say.

Layout: the header's length (u64, little-endian), the header (JSON: name → dtype, shape, offsets),
the tensors' bytes one after the other (https://github.com/huggingface/safetensors).

The library maps files into memory: whoever truncates one afterwards kills the process, whoever
writes into it changes the weights of a model that runs. Here bytes are read, into our own tensors.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eyeline._errors import CheckpointError
from eyeline.models._json import parse_object

__all__ = ["NOT_REAL", "Entry", "SafetensorsFile"]

MAX_HEADER = 25_000_000
MAX_TENSORS = 20_000
MAX_RANK = 8
MAX_NAME = 1_000

# name → torch's dtype, None where torch has none
_DTYPES: dict[str, tuple[torch.dtype | None, int]] = {
    "BOOL": (torch.bool, 1),
    "U8": (torch.uint8, 1),
    "I8": (torch.int8, 1),
    "F8_E5M2": (torch.float8_e5m2, 1),
    "F8_E4M3": (torch.float8_e4m3fn, 1),
    "I16": (torch.int16, 2),
    "U16": (torch.uint16, 2),
    "F16": (torch.float16, 2),
    "BF16": (torch.bfloat16, 2),
    "I32": (torch.int32, 4),
    "U32": (torch.uint32, 4),
    "F32": (torch.float32, 4),
    "F64": (torch.float64, 8),
    "I64": (torch.int64, 8),
    "U64": (torch.uint64, 8),
}

NOT_REAL = frozenset(_DTYPES) - {"F64", "F32", "F16", "BF16"}
"""Number types that a weight must not have."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies in its file.

    Attributes:
        shape: Its shape.
        dtype: Its number type in words, for example `"F32"` or `"Q4_1"`.
        offset: Its first byte, from the start of the file.
        num_bytes: Its length in bytes.
    """

    shape: tuple[int, ...]
    dtype: str
    offset: int
    num_bytes: int


class SafetensorsFile:
    """One file, its header checked.

    Args:
        path: The file.

    Raises:
        CheckpointError: Anything in it is not as the format says, or beyond the limits here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = self._read_header()

    def read(self, name: str) -> Tensor:
        """A tensor's numbers, in memory of our own."""
        entry = self.entries[name]
        data = torch.empty(entry.num_bytes, dtype=torch.uint8)
        with self.path.open("rb") as file:
            file.seek(entry.offset)
            count = file.readinto(data.numpy().data) if entry.num_bytes else 0
        self._require(f"bytes of {name!r}", count, count == entry.num_bytes, entry.num_bytes)
        dtype, _ = _DTYPES[entry.dtype]
        assert dtype is not None
        return data.view(dtype).reshape(entry.shape)

    def _read_header(self) -> dict[str, Entry]:
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as file:
                start = file.read(8)
                length = int.from_bytes(start, "little")
                most = min(MAX_HEADER, size - 8)
                self._require("size", f"{size} bytes", len(start) == 8, "at least 8 bytes")
                self._require("length of the header", length, 2 <= length <= most, f"2 to {most}")
                raw = file.read(length)
        except OSError as error:
            reason = error.strerror or error
            raise CheckpointError(
                self.path, "safetensors file", reason, fix="give a readable file"
            ) from error
        self._require("header", f"{len(raw)} bytes", len(raw) == length, f"{length} bytes")
        return self._entries(self._json(raw), data=8 + length, size=size)

    def _json(self, raw: bytes) -> dict[str, Any]:
        header = parse_object(raw, self.path, "safetensors header")
        metadata = header.pop("__metadata__", {})
        is_text = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
        self._require("__metadata__", type(metadata).__name__, is_text, "an object of strings")
        return header

    def _entries(self, header: dict[str, Any], data: int, size: int) -> dict[str, Entry]:
        count = len(header)
        self._require("number of tensors", count, count <= MAX_TENSORS, f"at most {MAX_TENSORS}")
        entries = {name: self._entry(name, what, data) for name, what in header.items()}
        end = data
        for name, entry in sorted(entries.items(), key=lambda item: _span(item[1])):
            self._require(
                f"offset of {name!r}", entry.offset - data, entry.offset == end, end - data
            )
            end = entry.offset + entry.num_bytes
        self._require(
            "bytes of tensors", size - data, size == end, f"{end - data}, is it complete?"
        )
        return entries

    def _entry(self, name: str, what: Any, data: int) -> Entry:
        fits = len(name) <= MAX_NAME and name.isprintable()
        self._require("name of a tensor", repr(name[:100]), fits, "a printable name")
        keys = {"dtype", "shape", "data_offsets"}
        is_entry = isinstance(what, dict) and what.keys() == keys
        self._require(
            f"entry of {name!r}", type(what).__name__, is_entry, f"an object of {sorted(keys)}"
        )
        dtype, shape, offsets = what["dtype"], what["shape"], what["data_offsets"]
        known = isinstance(dtype, str) and dtype in _DTYPES
        self._require(f"dtype of {name!r}", dtype, known, f"one of {', '.join(_DTYPES)}")
        self._require(f"shape of {name!r}", shape, _naturals(shape, MAX_RANK), "whole numbers")
        two = _naturals(offsets, 2) and len(offsets) == 2 and offsets[0] <= offsets[1]
        self._require(f"offsets of {name!r}", offsets, two, "two whole numbers in order")
        needed = math.prod(shape) * _DTYPES[dtype][1]  # Python's integers do not overflow
        length = offsets[1] - offsets[0]
        self._require(
            f"bytes of {name!r}", length, length == needed, f"{needed} for {shape} {dtype}"
        )
        return Entry(tuple(shape), dtype, data + offsets[0], needed)

    def _require(self, what: str, found: object, ok: bool, limit: object) -> None:
        if not ok:
            raise CheckpointError(
                self.path,
                f"safetensors {what}",
                str(found)[:200],
                limit=limit,
                fix="fetch the file again or choose another one",
            )


def _span(entry: Entry) -> tuple[int, int]:
    return entry.offset, entry.offset + entry.num_bytes  # an empty tensor before a full one


def _naturals(values: Any, most: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(n) is int and 0 <= n < 1 << 60 for n in values)
    )
