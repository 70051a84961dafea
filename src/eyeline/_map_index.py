"""Indexing an `AttentionMap` as torch would index the dense weights, a dimension at a time."""

from typing import Any

import torch
from torch import Tensor


def check_index(number: int, size: int, what: str) -> int:
    """The index counted from 0; an IndexError that names the range if there is none."""
    if not -size <= number < size:
        raise IndexError(f"{what} {number} does not exist: there are {size}, counted from 0")
    return number % size


def expand_ellipsis(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace `...` and missing trailing dimensions by full slices."""
    if any(i is None or isinstance(i, bool) for i in index):
        raise TypeError(
            "an AttentionMap takes integers, slices, `...` and index lists, no new axes"
        )
    dots = [n for n, i in enumerate(index) if i is Ellipsis]
    if len(dots) > 1 or len(index) - len(dots) > 4:
        raise IndexError("an AttentionMap has 4 dimensions: [batch, head, query, key]")
    at = dots[0] if dots else len(index)
    missing = (slice(None),) * (4 - (len(index) - len(dots)))
    return index[:at] + missing + index[at + len(dots) :]


def needed_span(index: Any, size: int, dim: int) -> tuple[slice, Any]:
    """The range of one dimension that has to be computed, and the index within that range."""
    name = ("batch item", "head", "query", "key")[dim]
    if isinstance(index, slice):
        chosen = range(size)[index]
        if len(chosen) == 0:
            return slice(0, 0), slice(None)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        if chosen.step < 0:
            raise ValueError("an AttentionMap takes slices with a positive step, as torch does")
        return slice(low, high + 1), slice(None, None, chosen.step)
    if isinstance(index, list | Tensor) and not (isinstance(index, Tensor) and index.dim() == 0):
        wanted = torch.as_tensor(index)
        if wanted.dtype == torch.bool:
            wanted = wanted.nonzero()[:, 0]
        if wanted.numel() == 0:
            return slice(0, 0), wanted.long()
        for extreme in (int(wanted.min()), int(wanted.max())):
            check_index(extreme, size, name)
        wanted = wanted % size
        low = int(wanted.min())
        return slice(low, int(wanted.max()) + 1), wanted - low
    number = check_index(int(index), size, name)
    return slice(number, number + 1), 0
