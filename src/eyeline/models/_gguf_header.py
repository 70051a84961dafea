"""Reads the header of a GGUF file and believes nothing that it says.

Layout, little-endian: `GGUF`, version (u32), number of tensors (u64), number of metadata pairs
(u64), the pairs, one description per tensor, padding, the tensors' bytes
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3).

A count in the file is a claim. Each is compared with the bytes that are left before anything is
allocated or looped over; otherwise a file of 49 bytes can claim 2⁶³ elements and hang the reader.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyeline._errors import CheckpointError

MAX_HEADER = 25_000_000
MAX_PAIRS = 10_000
MAX_TENSORS = 20_000
MAX_STRING = 1 << 20
MAX_ARRAY = 10_000_000
MAX_STRINGS = 1_000_000
MAX_RANK = 4
MAX_ALIGNMENT = 1 << 16

# type id → (name, elements in a block, bytes of a block): the sizes that the format defines
_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}
BLOCKS = {name: (size, length) for name, size, length in _TYPES.values()}
"""Name of a number type → elements in a block, bytes of a block."""

# type id of a metadata value → struct's letter for it
_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies in the file.

    Attributes:
        name: Its name.
        shape: Its shape in numpy's order (rows first; the file has it reversed).
        type_id: Its number type, as the format counts them.
        type_name: The same in words, for example `"Q4_1"`.
        offset: Its first byte, from the start of the file.
        num_bytes: Its length in bytes.
    """

    name: str
    shape: tuple[int, ...]
    type_id: int
    type_name: str
    offset: int
    num_bytes: int


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file.

    Attributes:
        path: The file.
        metadata: Its pairs; arrays of numbers are numpy arrays, arrays of strings lists.
        tensors: Its tensors by name, in the order of the file.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


def read_header(path: Path) -> Header:
    """Read and check the header of a GGUF file.

    Args:
        path: The file.

    Returns:
        The header; every tensor lies inside the file, and no two overlap.

    Raises:
        CheckpointError: If anything in it is not as the format says, or beyond the limits here.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            data = file.read(min(size, MAX_HEADER))
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(path, "GGUF file", reason, fix="give a readable file") from error
    cursor = _Cursor(path, data, truncated=size > len(data))
    magic = bytes(cursor.take(4, "magic number"))
    cursor.require("magic number", magic, magic == b"GGUF", "b'GGUF'")
    version = cursor.scalar("I", "version")
    cursor.require("version", version, version in (2, 3), "2 or 3, little-endian")
    num_tensors = cursor.count("number of tensors", MAX_TENSORS, smallest=24)
    num_pairs = cursor.count("number of metadata pairs", MAX_PAIRS, smallest=12)

    metadata: dict[str, Any] = {}
    for _ in range(num_pairs):
        key = cursor.string("metadata key")
        cursor.require("metadata key", f"{key!r} twice", key not in metadata, "each key once")
        metadata[key] = cursor.value(key)
    alignment = metadata.get("general.alignment", 32)
    cursor.require(
        "alignment",
        alignment,
        type(alignment) is int
        and 0 < alignment <= MAX_ALIGNMENT
        and alignment & (alignment - 1) == 0,
        f"a power of two up to {MAX_ALIGNMENT}",
    )

    tensors: dict[str, TensorInfo] = {}
    for _ in range(num_tensors):
        info = _tensor(cursor, alignment)
        cursor.require("tensor", f"{info.name!r} twice", info.name not in tensors, "each name once")
        tensors[info.name] = info
    start = _aligned(cursor.position, alignment)
    placed = _place(cursor, tensors, start=start, size=size, alignment=alignment)
    return Header(path=path, metadata=metadata, tensors=placed)


def _tensor(cursor: "_Cursor", alignment: int) -> TensorInfo:
    """One tensor's description; `offset` is still relative to the first tensor."""
    name = cursor.string("tensor name")
    rank = cursor.scalar("I", "rank")
    cursor.require(f"rank of {name!r}", rank, 1 <= rank <= MAX_RANK, f"1 to {MAX_RANK}")
    reversed_shape = [cursor.scalar("Q", f"shape of {name!r}") for _ in range(rank)]
    positive = all(1 <= width < 1 << 40 for width in reversed_shape)
    cursor.require(f"shape of {name!r}", reversed_shape, positive, "positive widths below 2**40")
    type_id = cursor.scalar("I", f"type of {name!r}")
    cursor.require(f"type of {name!r}", type_id, type_id in _TYPES, sorted(_TYPES))
    type_name, block, block_bytes = _TYPES[type_id]
    cursor.require(
        f"row of {name!r}", reversed_shape[0], reversed_shape[0] % block == 0, f"n × {block}"
    )
    offset = cursor.scalar("Q", f"offset of {name!r}")
    cursor.require(f"offset of {name!r}", offset, offset % alignment == 0, f"n × {alignment}")
    num_elements = 1
    for width in reversed_shape:
        num_elements *= width  # Python's integers do not overflow
    num_bytes = num_elements // block * block_bytes
    shape = tuple(reversed(reversed_shape))
    return TensorInfo(name, shape, type_id, type_name, offset, num_bytes)


def _place(
    cursor: "_Cursor", tensors: dict[str, TensorInfo], *, start: int, size: int, alignment: int
) -> dict[str, TensorInfo]:
    """The tensors with absolute offsets: one after the other, up to the end of the file."""
    end = expected = 0
    for info in sorted(tensors.values(), key=lambda info: info.offset):
        cursor.require(f"offset of {info.name!r}", info.offset, info.offset == expected, expected)
        end = info.offset + info.num_bytes
        expected = _aligned(end, alignment)
    # The padding behind the last tensor may be left out, nothing may follow it.
    found = size - start
    limit = f"{end} to {expected}, is the file complete?"
    cursor.require("bytes of tensors", found, end <= found <= expected or not tensors, limit)
    return {
        name: TensorInfo(
            name, info.shape, info.type_id, info.type_name, start + info.offset, info.num_bytes
        )
        for name, info in tensors.items()
    }


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


class _Cursor:
    """A position in the header's bytes that cannot leave them."""

    def __init__(self, path: Path, data: bytes, *, truncated: bool) -> None:
        self.path = path
        self.position = 0
        self._data = memoryview(data)
        self._end = f"header's end at {len(data)} bytes" if truncated else "end of the file"

    def require(self, what: str, found: object, ok: bool, limit: object) -> None:
        if not ok:
            fix = "fetch the file again or choose another one"
            raise CheckpointError(self.path, f"GGUF {what}", found, limit=limit, fix=fix)

    def remaining(self) -> int:
        return len(self._data) - self.position

    def take(self, num_bytes: int, what: str) -> memoryview:
        if num_bytes > self.remaining():
            limit = f"{num_bytes} bytes at {self.position}"
            found = f"{self._end} after {self.remaining()}"
            self.require(what, found, False, limit)
        piece = self._data[self.position : self.position + num_bytes]
        self.position += num_bytes
        return piece

    def scalar(self, code: str, what: str) -> Any:
        number = struct.Struct("<" + code)
        return number.unpack(self.take(number.size, what))[0]

    def count(self, what: str, limit: int, *, smallest: int) -> int:
        """A count of things of which the smallest has so many bytes."""
        found = self.scalar("Q", what)
        most = min(limit, self.remaining() // smallest)
        self.require(what, found, found <= most, f"at most {most}")
        return found

    def string(self, what: str) -> str:
        raw = self.take(self.count(f"length of {what}", MAX_STRING, smallest=1), what)
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            self.require(what, error.reason, False, "UTF-8")
            raise

    def value(self, key: str) -> Any:
        type_id = self.scalar("I", f"type of {key!r}")
        if type_id == _ARRAY:
            return self._array(key)
        if type_id == _STRING:
            return self.string(f"value of {key!r}")
        known = sorted([*_SCALARS, _STRING, _ARRAY])
        self.require(f"type of {key!r}", type_id, type_id in _SCALARS, known)
        return self.scalar(_SCALARS[type_id], f"value of {key!r}")

    def _array(self, key: str) -> Any:
        type_id = self.scalar("I", f"element type of {key!r}")
        what = f"length of {key!r}"
        if type_id == _STRING:
            return self._strings(key, self.count(what, MAX_STRINGS, smallest=8))
        known = [*_SCALARS, _STRING]
        # An array of arrays is legal in the format, used by no model, and a way to the stack's end.
        self.require(f"element type of {key!r}", type_id, type_id in _SCALARS, known)
        dtype = np.dtype("<" + _SCALARS[type_id])
        length = self.count(what, MAX_ARRAY, smallest=dtype.itemsize)
        return np.frombuffer(self.take(length * dtype.itemsize, what), dtype=dtype)

    def _strings(self, key: str, length: int) -> list[str]:
        """So many strings, in a loop that a tokenizer's hundred thousand go through quickly."""
        data, position, end = self._data, self.position, len(self._data)
        number, found = struct.Struct("<Q"), []
        for _ in range(length):
            if end - position < 8:
                break
            (size,) = number.unpack_from(data, position)
            position += 8
            if size > MAX_STRING or size > end - position:
                most = min(MAX_STRING, end - position)
                self.require(f"length of element of {key!r}", size, False, f"at most {most}")
            try:
                found.append(str(data[position : position + size], "utf-8"))
            except UnicodeDecodeError as error:
                self.require(f"element of {key!r}", error.reason, False, "UTF-8")
            position += size
        self.position = position
        self.require(f"length of {key!r}", length, len(found) == length, f"{len(found)} at most")
        return found
