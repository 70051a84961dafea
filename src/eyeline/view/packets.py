"""Packets: a JSON head and binary arrays in one blob, as the browser reads them.

    4 bytes   length of the head, little-endian
    head      JSON: anything small, and "arrays": name → [dtype, shape, offset]
    padding   to a multiple of 8
    arrays    one after the other, each from a multiple of 8

Weights travel as unsigned 16-bit numbers (`weights16`: off by less than 8e-6), pictures as 8-bit
ones (`shades8`), what is printed in full as float32. There is no JSON list of floats anywhere.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["pack", "shades8", "unpack", "weights16"]

FULL = 65534
"""The 16-bit number that stands for a weight of 1; one more is NaN."""

_ALIGN = 8


def pack(head: Mapping[str, Any], arrays: Mapping[str, Tensor | np.ndarray] | None = None) -> bytes:
    """One packet.

    Args:
        head: What JSON can hold; numbers in it are few.
        arrays: Name → array of 8-, 16- or 32-bit numbers.
    """
    described: dict[str, Any] = {}
    parts, offset = [], 0
    for name, array in (arrays or {}).items():
        plain = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
        plain = np.ascontiguousarray(plain)
        if plain.dtype.str[1:] not in ("u1", "u2", "u4", "i4", "f4"):
            raise TypeError(f"a packet holds 8-, 16- or 32-bit numbers, {name} is {plain.dtype}")
        described[name] = [plain.dtype.str[1:], list(plain.shape), offset]
        data = plain.astype(plain.dtype.newbyteorder("<")).tobytes()
        parts.append(data + bytes(-len(data) % _ALIGN))
        offset += len(parts[-1])
    text = json.dumps({**head, "arrays": described}, ensure_ascii=False, allow_nan=False).encode()
    return (
        len(text).to_bytes(4, "little") + text + bytes(-(len(text) + 4) % _ALIGN) + b"".join(parts)
    )


def unpack(packet: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `pack` was given."""
    length = int.from_bytes(packet[:4], "little")
    head = json.loads(packet[4 : 4 + length])
    start = -(-(length + 4) // _ALIGN) * _ALIGN
    arrays = {}
    for name, (dtype, shape, offset) in head.pop("arrays").items():
        count = int(np.prod(shape, dtype=np.int64))
        flat = np.frombuffer(packet, f"<{dtype}", count, start + offset)
        arrays[name] = flat.reshape(shape)
    return head, arrays


def weights16(weights: Tensor) -> np.ndarray:
    """Weights from 0 to 1 as 16-bit numbers: 65534 is 1, 65535 is NaN."""
    scaled = (weights.detach().double().clamp(0, 1) * FULL).round()
    return scaled.nan_to_num(nan=FULL + 1).to(torch.int32).cpu().numpy().astype(np.uint16)


def shades8(weights: Tensor, live: Tensor | None = None) -> np.ndarray:
    """Weights as shades: 0 where nothing may be seen, else 1 to 255 for the square root of 0 to 1.

    The square root keeps a weight of 0.0001 apart from 0, in a picture that one byte a pixel holds.

    Args:
        weights: From 0 to 1; NaN is shown as 0.
        live: Where a pixel covers any cell that the mask allows; None = everywhere.
    """
    shade = 1 + (weights.detach().float().nan_to_num(0).clamp(0, 1).sqrt() * 254).round()
    if live is not None:
        shade = shade.masked_fill(~live, 0)
    return shade.to(torch.uint8).cpu().numpy()
