"""The zoomable pyramid over the weights: where a tile lies, and how many weights its pixels hold.

A pixel of level l stands for `2^l × 2^l` weights; a tile has 256 × 256 pixels, fewer at the edges.
"""

import torch
from torch import Tensor

__all__ = ["TILE_SIZE", "areas", "span"]

TILE_SIZE = 256
"""Pixels along each side of a tile."""


def span(name: str, number: int, level: int, length: int) -> slice:
    """The queries, or the keys, under a tile.

    Args:
        name: What the number is called, for messages.
        number: Of the tile along this side.
        level: Of the pyramid.
        length: Queries or keys in all.

    Raises:
        ValueError: A number below 0.
        IndexError: There are not that many tiles.
    """
    if level < 0 or number < 0:
        raise ValueError(f"level, i and j count from 0, got level {level}, {name}={number}")
    side = TILE_SIZE * 2**level
    if number * side >= length:
        count = max(-(-length // side), 1)
        raise IndexError(f"tile {name}={number}: level {level} has {count} (from 0)")
    return slice(number * side, min((number + 1) * side, length))


def areas(rows: slice, cols: slice, level: int) -> Tensor:
    """How many weights each pixel of a tile stands for: `[height, width]`."""
    heights, widths = (
        torch.bincount(torch.arange(s.stop - s.start) // 2**level) for s in (rows, cols)
    )
    return heights[:, None] * widths
