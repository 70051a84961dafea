import os
import resource
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from eyeline._errors import CheckpointError
from eyeline.models._gguf_header import read_header


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, type_id: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", type_id) + value


def tensor(name: str, shape: tuple[int, ...], type_id: int, offset: int) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", type_id, offset)


def build(
    pairs: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data: bytes = b"",
    *,
    version: int = 3,
    num_pairs: int | None = None,
    num_tensors: int | None = None,
) -> bytes:
    """A file of these parts, with counts that may lie."""
    pairs, tensors = pairs or [], tensors or []
    counts = (
        len(tensors) if num_tensors is None else num_tensors,
        len(pairs) if num_pairs is None else num_pairs,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + data


GOOD_PAIRS = [
    pair("general.architecture", 8, text("llama")),
    pair("count", 4, struct.pack("<I", 7)),
    pair("words", 9, struct.pack("<IQ", 8, 2) + text("a") + text("bé")),
    pair("numbers", 9, struct.pack("<IQ3f", 6, 3, 1.0, 2.0, 3.0)),
    pair("yes", 7, b"\1"),
]
GOOD_TENSORS = [tensor("w", (4, 2), 0, 0), tensor("q", (32, 2), 8, 32)]
# 8 floats = 32 bytes; 2 blocks of 34 = 68 bytes, padded to 96
GOOD_DATA = np.arange(8, dtype="<f4").tobytes() + b"\1" * 68
GOOD = build(GOOD_PAIRS, GOOD_TENSORS, GOOD_DATA)


def read(tmp_path: Path, data: bytes):
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    return read_header(path)


@pytest.mark.parametrize("data", [GOOD, GOOD + b"\0" * 28])
def test_a_good_file(tmp_path, data):
    header = read(tmp_path, data)
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["count"] == 7 and header.metadata["yes"] is True
    assert header.metadata["words"] == ["a", "bé"]
    assert header.metadata["numbers"].tolist() == [1.0, 2.0, 3.0]
    w, q = header.tensors["w"], header.tensors["q"]
    assert (w.shape, w.type_name, w.num_bytes) == ((2, 4), "F32", 32)
    assert (q.shape, q.type_name, q.num_bytes) == ((2, 32), "Q8_0", 68)
    assert data[w.offset : w.offset + 32] == GOOD_DATA[:32]
    assert q.offset == w.offset + 32


def test_agrees_with_the_gguf_package(tiny_llama):
    gguf = pytest.importorskip("gguf")
    header, reader = read_header(tiny_llama), gguf.GGUFReader(tiny_llama)
    for key, value in header.metadata.items():
        expected = reader.fields[key].contents()
        assert (value.tolist() if isinstance(value, np.ndarray) else value) == expected, key
    for theirs in reader.tensors:
        ours = header.tensors[theirs.name]
        assert ours.shape == tuple(reversed(theirs.shape.tolist()))
        assert (ours.offset, ours.num_bytes) == (theirs.data_offset, theirs.n_bytes)


def test_every_truncation_is_refused(tmp_path):
    start = time.perf_counter()
    for length in range(len(GOOD)):
        with pytest.raises(CheckpointError):
            read(tmp_path, GOOD[:length])
    assert time.perf_counter() - start < 10


def test_every_changed_byte_is_read_or_refused(tmp_path):
    for position in range(len(GOOD) - len(GOOD_DATA)):
        for value in (0x00, 0x01, 0x7F, 0xFF):
            data = GOOD[:position] + bytes([value]) + GOOD[position + 1 :]
            try:
                read(tmp_path, data)
            except CheckpointError:
                pass


HUGE = 1 << 62
ZEROS = b"\0" * 64
MALFORMED = {
    "empty": b"",
    "other magic": b"GGML" + GOOD[4:],
    "version 1": build(version=1),
    "version 4": build(version=4),
    "big-endian": build(version=3 << 24),
    "2**62 pairs": build(num_pairs=HUGE),
    "2**62 tensors": build(num_tensors=HUGE),
    "more pairs than there are": build(GOOD_PAIRS, num_pairs=200, data=ZEROS * 40),
    "key of 2**62 bytes": build([struct.pack("<Q", HUGE)]),
    "string of 2**62 bytes": build([text("k") + struct.pack("<IQ", 8, HUGE)]),
    "string of 2 MiB": build([pair("k", 8, text("x" * (1 << 21)))]),
    "array of 2**63 - 1": build([text("k") + struct.pack("<IIQ", 9, 0, (1 << 63) - 1)]),
    "array of 2**62 strings": build([text("k") + struct.pack("<IIQ", 9, 8, HUGE)]),
    "array of arrays": build([text("k") + struct.pack("<IIQ", 9, 9, 1) + ZEROS]),
    "deep nesting": build([text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000]),
    "unknown type of a value": build([pair("k", 13, ZEROS)]),
    "unknown type of elements": build([text("k") + struct.pack("<IIQ", 9, 99, 1) + ZEROS]),
    "key that is no UTF-8": build([struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<IB", 0, 1)]),
    "key twice": build([pair("k", 0, b"\1")] * 2),
    "alignment 0": build([pair("general.alignment", 4, struct.pack("<I", 0))]),
    "alignment 24": build([pair("general.alignment", 4, struct.pack("<I", 24))]),
    "alignment 2**20": build([pair("general.alignment", 4, struct.pack("<I", 1 << 20))]),
    "alignment in words": build([pair("general.alignment", 8, text("32"))]),
    "alignment true": build([pair("general.alignment", 7, b"\1")]),
    "rank 0": build([], [tensor("w", (), 0, 0)], ZEROS),
    "rank 5": build([], [tensor("w", (1, 1, 1, 1, 1), 0, 0)], ZEROS),
    "rank 2**31": build([], [text("w") + struct.pack("<I", 1 << 31) + ZEROS]),
    "width 0": build([], [tensor("w", (0, 4), 0, 0)], ZEROS),
    "overflowing shape": build([], [tensor("w", (1 << 33, 1 << 33), 0, 0)], ZEROS),
    "unknown number type": build([], [tensor("w", (4,), 77, 0)], ZEROS),
    "removed number type": build([], [tensor("w", (4,), 4, 0)], ZEROS),
    "row that is no block": build([], [tensor("w", (33,), 8, 0)], ZEROS),
    "offset off alignment": build([], [tensor("w", (4,), 0, 4)], ZEROS),
    "offset behind the file": build([], [tensor("w", (4,), 0, 1 << 40)], ZEROS),
    "tensor beyond the file": build([], [tensor("w", (400,), 0, 0)], ZEROS),
    "two tensors on one place": build(
        [], [tensor("a", (8,), 0, 0), tensor("b", (8,), 0, 0)], ZEROS
    ),
    "overlap": build([], [tensor("a", (16,), 0, 0), tensor("b", (8,), 0, 32)], ZEROS),
    "gap": build([], [tensor("a", (8,), 0, 0), tensor("b", (8,), 0, 64)], ZEROS + ZEROS[:32]),
    "gap at the start": build([], [tensor("a", (8,), 0, 32)], ZEROS),
    "name twice": build([], [tensor("a", (8,), 0, 0), tensor("a", (8,), 0, 32)], ZEROS),
    "something behind": build([], [tensor("a", (8,), 0, 0)], ZEROS),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_file_is_refused_fast_and_small(tmp_path, what):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, MALFORMED[what])
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000  # KiB on Linux
    assert "\n" not in str(caught.value) and "x.gguf" in str(caught.value)


def test_a_header_beyond_the_limit_is_refused(tmp_path):
    path = tmp_path / "x.gguf"
    many = 30_000_000
    path.write_bytes(build([])[:8] + struct.pack("<QQ", 0, 1) + text("k") + b"\x09\0\0\0\0\0\0\0")
    with path.open("ab") as file:
        file.write(struct.pack("<Q", many))
    os.truncate(path, many + 100)  # sparse
    with pytest.raises(CheckpointError, match="at most 10000000"):
        read_header(path)


def test_a_missing_file_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        read_header(tmp_path / "none.gguf")


def test_what_a_file_says_cannot_drive_the_terminal(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, build([pair("\x1b[31mred", 0, b"\1")] * 2))
    assert "\x1b" not in str(caught.value)
