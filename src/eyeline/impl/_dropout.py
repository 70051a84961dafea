"""Dropout by counting: whether a weight is kept is a hash of (seed, batch, head, row, col).

No random state is consumed per tile, so that forward, backward and every implementation drop the
same weights, whatever tiles they work in.
"""

import torch
from torch import Tensor

from eyeline._types import Tile
from eyeline.impl._problem import Problem

_MASK = 0xFFFFFFFF


def keep_tile(seed: int, dropout_p: float, tile: Tile, device: torch.device) -> Tensor:
    """Bool `[batch, heads, rows, cols]`: True where the weight is kept, probability `1 - p`."""
    hashed = torch.full((1, 1, 1, 1), seed & _MASK, dtype=torch.int64, device=device)
    for dim, span in enumerate(tile):
        index = torch.arange(span.start, span.stop, dtype=torch.int64, device=device)
        hashed = _mix(hashed ^ index.reshape([-1 if d == dim else 1 for d in range(4)]))
    return hashed >= threshold(dropout_p)


def threshold(dropout_p: float) -> int:
    """Weights whose hash is below it are dropped."""
    return round(dropout_p * 2**32)


def kept_scale(dropout_p: float) -> float:
    """What a weight that is kept is multiplied by: one over the share that is kept."""
    return 1 / (1 - dropout_p) if dropout_p < 1 else 0.0


def drop_(weights: Tensor, problem: Problem, tile: Tile) -> Tensor:
    """Drop weights of a tile in place and divide those kept by the share that is kept."""
    keep = keep_tile(problem.dropout_seed, problem.dropout_p, tile, weights.device)
    return weights.mul_(keep).mul_(kept_scale(problem.dropout_p))


def _mix(x: Tensor) -> Tensor:
    """MurmurHash3's 32-bit finaliser plus a constant, so that zero does not stay zero."""
    x = (x + 0x9E3779B9) & _MASK
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _MASK
    return x ^ (x >> 16)
