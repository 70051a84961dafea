"""Masks and biases as the kernels take them: a band, an interval of keys per row, or explicit.

A symbolic mask becomes offsets where it is a band, else an interval of keys for each row (O(n)
numbers) where every row's keys are neighbours; only what is left is written out cell by cell.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eyeline._types import Tile
from eyeline.biases import Bias, DiagonalBias, TensorBias
from eyeline.impl._problem import Problem
from eyeline.masks import Mask
from eyeline.masks.base import And
from eyeline.masks.rules import Band, Dense

WRITTEN_CELLS = 2**26
"""A mask that has to be written out, cell by cell, may have so many: 64 MB."""


@dataclass(frozen=True, eq=False)
class Rules:
    """What stands between `scale * q·k` and softmax.

    Attributes:
        first_offset: Query i sees keys from `i + first_offset` on.
        last_offset: Query i sees keys up to `i + last_offset`.
        limits: First key and one past the last key of each row, int32 `[batch, 1, q_len]` each or
            1 where they broadcast.
        written: Bool, broadcastable to `[batch, heads, q_len, kv_len]`.
        bias: Float32, broadcastable likewise.
        diagonals: Float32 `[heads, q_len + kv_len - 1]`: the bias of `j - i`, most negative first.
    """

    first_offset: int | None = None
    last_offset: int | None = None
    limits: tuple[Tensor, Tensor] | None = None
    written: Tensor | None = None
    bias: Tensor | None = None
    diagonals: Tensor | None = None


def too_large(problem: Problem) -> str | None:
    """Why the mask cannot be lowered, if it cannot."""
    shape = problem.shape
    for part in _conjunction(problem.mask):
        if isinstance(part, Band | Dense) or part.row_limits(*shape[2:]) is not None:
            continue
        # the corner shows where the mask broadcasts: size 1
        corner = part.tile(Tile(*[slice(0, min(length, 2)) for length in shape])).shape
        sizes = [1 if n == 1 else length for n, length in zip(corner, shape, strict=True)]
        if math.prod(sizes) > WRITTEN_CELLS:
            return f"{part} has no interval of keys per row and is too large to write out"
    return None


def lower(problem: Problem) -> Rules:
    """The mask and the biases of a problem as the kernels take them."""
    firsts: list[int] = []
    lasts: list[int] = []
    limits: tuple[Tensor, Tensor] | None = None
    written: Tensor | None = None
    for part in _conjunction(problem.mask):
        if isinstance(part, Band):
            if part.left is not None:
                firsts.append(part.offset - part.left)
            if part.right is not None:
                lasts.append(part.offset + part.right)
        elif (found := part.row_limits(*problem.shape[2:])) is not None:
            if limits is not None:
                found = torch.maximum(limits[0], found[0]), torch.minimum(limits[1], found[1])
            limits = found
        else:
            cells = part.tile(problem.whole())
            written = cells if written is None else written & cells
    return Rules(
        max(firsts) if firsts else None,
        min(lasts) if lasts else None,
        None if limits is None else _as_rows(*limits),
        None if written is None else written.to(torch.bool),
        *_biases(problem.biases, problem.shape),
    )


def _conjunction(mask: Mask | None) -> list[Mask]:
    """The masks that are joined by AND."""
    if mask is None:
        return []
    if isinstance(mask, And):
        return _conjunction(mask.left) + _conjunction(mask.right)
    return [mask]


def _as_rows(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    first, last = torch.broadcast_tensors(first, last)
    return tuple(t.to(torch.int32).contiguous()[:, None] for t in (first, last))  # type: ignore[return-value]


def _biases(
    biases: tuple[Bias, ...], shape: tuple[int, int, int, int]
) -> tuple[Tensor | None, Tensor | None]:
    explicit: Tensor | None = None
    diagonals: Tensor | None = None
    for bias in biases:
        if isinstance(bias, DiagonalBias):
            values = bias.diagonals(*shape[2:]).float()
            diagonals = values if diagonals is None else diagonals + values
        elif isinstance(bias, TensorBias):
            values = bias.values.float()
            explicit = values if explicit is None else explicit + values
        else:
            raise TypeError(f"the kernels do not know how to add {type(bias).__name__}")
    return explicit, diagonals
