"""Writes a safetensors file tensor by tensor.

The library's `save_file` wants all tensors in memory and copies them once more; for float32 weights
that are made one at a time from a compressed file this would be a gigabyte for nothing. The format
is an 8-byte length, a JSON header and the bytes (https://github.com/huggingface/safetensors).
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np


def write_float32(
    path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[np.ndarray]
) -> str:
    """Write float32 tensors into a new safetensors file, through to the disk.

    Args:
        path: The file to write.
        shapes: The shape of each tensor by its name, in the order of the file.
        tensors: The tensors in that order, each used before the next one is asked for.

    Returns:
        The sha256 of the file.
    """
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format wants the data at a multiple of 8

    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (len(header).to_bytes(8, "little"), header):
            file.write(piece)
            digest.update(piece)
        for shape, tensor in zip(shapes.values(), tensors, strict=True):
            assert tensor.shape == shape, (tensor.shape, shape)
            data = np.ascontiguousarray(tensor, dtype="<f4").data.cast("B")
            file.write(data)
            digest.update(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
