"""The n × n map as a pyramid of tiles, with tracks along its sides."""

import math

import numpy as np
import torch
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline._pyramid import TILE_SIZE
from eyeline.maps import AttentionMap
from eyeline.view.answers.parameters import Asked
from eyeline.view.packets import pack, shades8
from eyeline.view.viewed import BASE, Viewed

__all__ = ["overview", "tile"]

_TRACK = 2048
_SMALL = 256


def overview(asked: Asked) -> bytes:
    """One head from afar: a picture of at most 256 × 256, tracks, and what levels there are.

    A track has at most 2,048 points: the mean entropy and the largest attention received under
    each. Level l has pixels of `pixel` tokens; levels below `first_stored` are computed when asked.
    """
    kind, layer, head = asked.kind, asked.number("layer"), asked.number("head")
    seen = asked.viewed.overview(kind, layer, head)
    one = asked.viewed.head(kind, layer, head)
    small = _halved(seen.shades, _halvings(max(seen.shades.shape), _SMALL))
    entropy = _track(seen.entropy, "mean")
    received = _track(seen.received, "amax")
    levels = [
        {"pixel": [_pixel(one, level, side) for side in (0, 1)]} for level in range(_top(one))
    ]
    return pack(
        {"q_len": one.shape[2], "kv_len": one.shape[3], "levels": levels, "tile": TILE_SIZE},
        {"picture": small, "entropy": entropy, "received": received},
    )


def tile(asked: Asked) -> bytes:
    """256 × 256 pixels of a level: the largest weight under each, exact at every level."""
    kind, layer, head = asked.kind, asked.number("layer"), asked.number("head")
    level, i, j = asked.number("level", most=20), asked.number("i"), asked.number("j")
    one = asked.viewed.head(kind, layer, head)
    stored = first_stored(one)
    if level >= stored:
        shades = _from_overview(asked.viewed, (kind, layer, head), level - stored, i, j)
    else:
        shades = _computed(one, level, i, j)
    return pack({"level": level, "i": i, "j": j}, {"shades": shades})


def first_stored(one: AttentionMap) -> int:
    """The finest level that is cut out of the overview."""
    return max(math.ceil(math.log2(max(max(one.shape[2:]), 1) / BASE)), 0)


def _top(one: AttentionMap) -> int:
    """How many levels there are, from single weights to one tile for all."""
    pixels = min(max(one.shape[2:]), BASE)
    return first_stored(one) + _halvings(pixels, TILE_SIZE) + 1


def _pixel(one: AttentionMap, level: int, side: int) -> float:
    """Tokens along one side of a pixel."""
    stored, length = first_stored(one), one.shape[2 + side]
    if level < stored:
        return float(2**level)
    return length / min(length, BASE) * 2 ** (level - stored)


def _halvings(pixels: int, most: int) -> int:
    return max(math.ceil(math.log2(max(pixels, 1) / most)), 0)


def _from_overview(
    viewed: Viewed, where: tuple[str, int, int], halvings: int, i: int, j: int
) -> np.ndarray:
    shades = viewed.overview(*where).shades
    side = TILE_SIZE << halvings
    part = shades[i * side : (i + 1) * side, j * side : (j + 1) * side]
    if part.size == 0:
        raise EyelineError(f"there is no tile {i}, {j} at this level")
    return _halved(part, halvings)


def _computed(one: AttentionMap, level: int, i: int, j: int) -> np.ndarray:
    try:
        weights = one.tile(level, i, j, "max")[0, 0]
    except IndexError as error:
        raise EyelineError(str(error)) from None
    mask = one.problem.mask
    limits = None if mask is None else mask.row_limits(*one.shape[2:])
    live = None
    if limits is not None:
        live = _live(limits, one.shape[2], level, (i, j), tuple(weights.shape))
    return shades8(weights, live)


def _live(
    limits: tuple[Tensor, Tensor],
    q_len: int,
    level: int,
    where: tuple[int, int],
    shape: tuple[int, ...],
) -> Tensor:
    pixel = 2**level
    first, last = (t[0].expand(q_len).cpu() for t in limits)
    start = where[0] * TILE_SIZE * pixel
    rows = slice(start, min(start + shape[0] * pixel, q_len))
    cell = torch.arange(rows.stop - rows.start) // pixel
    low = torch.full((shape[0],), 2**40).scatter_reduce(0, cell, first[rows], "amin")
    high = torch.zeros(shape[0], dtype=torch.long).scatter_reduce(0, cell, last[rows], "amax")
    starts = (where[1] * TILE_SIZE + torch.arange(shape[1])) * pixel
    return (starts < high[:, None]) & (starts + pixel > low[:, None])


def _halved(shades: np.ndarray, times: int) -> np.ndarray:
    """The largest of 2 × 2 pixels, some times over; at the edges of what is there."""
    for _ in range(times):
        height, width = shades.shape
        padded = np.pad(shades, ((0, height % 2), (0, width % 2)))
        shades = padded.reshape(-(-height // 2), 2, -(-width // 2), 2).max((1, 3))
    return shades


def _track(values: Tensor, reduce: str) -> Tensor:
    length = values.shape[0]
    if length <= _TRACK:
        return values.float().cpu()
    cell = torch.arange(length) * _TRACK // length
    start = torch.zeros(_TRACK)
    return start.scatter_reduce(0, cell, values.float().cpu(), reduce, include_self=False)
