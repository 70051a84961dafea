"""The rules that a mask can be made of; `eyeline.masks` has their constructors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.compiler import is_compiling

from eyeline._types import Tile, TileBool, TileKind
from eyeline.masks.base import Limits, Mask


def _pick(tensor: Tensor, dim: int, part: slice) -> Tensor:
    """Slice one dimension, unless it is 1 and broadcasts."""
    return (
        tensor if tensor.shape[dim] == 1 else tensor.narrow(dim, part.start, part.stop - part.start)
    )


def _check_batch(name: str, found: int, batch: int) -> None:
    if found not in (1, batch):
        raise ValueError(f"{name} describes {found} batch items, the attention has {batch}")


@dataclass(frozen=True, eq=False)
class Band(Mask):
    """Keys from `position - left` to `position + right`, where position = row + offset."""

    left: int | None
    right: int | None
    offset: int

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        row = torch.arange(tile.rows.start, tile.rows.stop, device=device)[:, None] + self.offset
        col = torch.arange(tile.cols.start, tile.cols.stop, device=device)[None, :]
        allowed = torch.ones(row.shape[0], col.shape[1], dtype=torch.bool, device=device)
        if self.right is not None:
            allowed &= col <= row + self.right
        if self.left is not None:
            allowed &= col >= row - self.left
        return allowed[None, None]

    def kind(self, tile: Tile) -> TileKind:
        first, last = tile.rows.start + self.offset, tile.rows.stop - 1 + self.offset
        begin, end = tile.cols.start, tile.cols.stop - 1
        if self.right is not None and begin > last + self.right:
            return TileKind.EMPTY
        if self.left is not None and end < first - self.left:
            return TileKind.EMPTY
        right_full = self.right is None or end <= first + self.right
        left_full = self.left is None or begin >= last - self.left
        return TileKind.FULL if right_full and left_full else TileKind.PARTIAL

    def row_limits(self, q_len: int, kv_len: int) -> Limits:
        position = torch.arange(q_len)[None] + self.offset
        first = torch.zeros(1, 1, dtype=torch.int64)
        last = torch.full((1, 1), kv_len)
        return (
            first if self.left is None else position - self.left,
            last if self.right is None else position + self.right + 1,
        )

    def __str__(self) -> str:
        at = f"offset={self.offset}" if self.offset else ""
        if self.left is None and self.right == 0:
            return f"causal({at})"
        size = tuple(-1 if side is None else side for side in (self.left, self.right))
        return f"sliding_window({size}{', ' if at else ''}{at})"


@dataclass(frozen=True, eq=False)
class Interval(Mask):
    """Keys `start[b] <= j < stop[b]`, whatever the query."""

    start: Tensor
    stop: Tensor

    @cached_property
    def _bounds(self) -> list[tuple[int, int]]:
        return list(zip(self.start.tolist(), self.stop.tolist(), strict=True))

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        col = torch.arange(tile.cols.start, tile.cols.stop, device=device)
        start = _pick(self.start.to(device), 0, tile.batch)[:, None]
        stop = _pick(self.stop.to(device), 0, tile.batch)[:, None]
        return ((col >= start) & (col < stop))[:, None, None]

    def kind(self, tile: Tile) -> TileKind:
        bounds = self._bounds if len(self._bounds) == 1 else self._bounds[tile.batch]
        if all(tile.cols.stop <= a or tile.cols.start >= b for a, b in bounds):
            return TileKind.EMPTY
        if all(a <= tile.cols.start and tile.cols.stop <= b for a, b in bounds):
            return TileKind.FULL
        return TileKind.PARTIAL

    def row_limits(self, q_len: int, kv_len: int) -> Limits:
        return self.start[:, None], self.stop[:, None]

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        _check_batch("padding() or prefix()", self.start.shape[0], batch)
        if is_compiling():
            return  # what depends on numbers cannot be known; keys past the end do not exist
        longest = max((b for _, b in self._bounds), default=0)
        if longest > kv_len:
            raise ValueError(f"padding() or prefix() reaches key {longest}, but kv_len is {kv_len}")

    def part(self, batch: slice, heads: slice) -> Mask:
        return Interval(_pick(self.start, 0, batch), _pick(self.stop, 0, batch))

    def __str__(self) -> str:
        if not any(a for a, _ in self._bounds):
            lengths = [b for _, b in self._bounds]
            return f"prefix({lengths[0]})" if len(lengths) == 1 else f"padding({lengths})"
        return f"padding({[b - a for a, b in self._bounds]}, starts={[a for a, _ in self._bounds]})"


@dataclass(frozen=True, eq=False)
class Rows(Mask):
    """Keys `first[b, i] <= j < last[b, i]`: what `row_limits` gives, as a mask again."""

    first: Tensor
    last: Tensor

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        col = torch.arange(tile.cols.start, tile.cols.stop, device=device)
        first, last = (side[..., None].to(device) for side in self._rows(tile))
        return ((col >= first) & (col < last))[:, None]

    def kind(self, tile: Tile) -> TileKind:
        first, last = self._rows(tile)
        if bool(((first >= tile.cols.stop) | (last <= tile.cols.start) | (first >= last)).all()):
            return TileKind.EMPTY
        full = (first <= tile.cols.start) & (last >= tile.cols.stop)
        return TileKind.FULL if bool(full.all()) else TileKind.PARTIAL

    def row_limits(self, q_len: int, kv_len: int) -> Limits:
        return self.first, self.last

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        for side in (self.first, self.last):
            if any(n not in (1, want) for n, want in zip(side.shape, (batch, q_len), strict=True)):
                raise ValueError(f"limits {list(side.shape)} do not broadcast to {[batch, q_len]}")

    def part(self, batch: slice, heads: slice) -> Mask:
        return Rows(_pick(self.first, 0, batch), _pick(self.last, 0, batch))

    def _rows(self, tile: Tile) -> Limits:
        first, last = (
            _pick(_pick(side, 0, tile.batch), 1, tile.rows) for side in (self.first, self.last)
        )
        return first, last

    def __str__(self) -> str:
        return f"rows({list(self.first.shape)})"


@dataclass(frozen=True, eq=False)
class Keys(Mask):
    keep: Tensor

    @cached_property
    def _kept_before(self) -> list[list[int]]:
        """Running counts, so that `kind` is two look-ups instead of a scan."""
        return torch.nn.functional.pad(self.keep.long().cumsum(-1), (1, 0)).tolist()

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        return _pick(self.keep.to(device), 0, tile.batch)[:, None, None, tile.cols]

    def kind(self, tile: Tile) -> TileKind:
        counts = self._kept_before if self.keep.shape[0] == 1 else self._kept_before[tile.batch]
        kept = [c[tile.cols.stop] - c[tile.cols.start] for c in counts]
        if not any(kept):
            return TileKind.EMPTY
        full = all(n == tile.cols.stop - tile.cols.start for n in kept)
        return TileKind.FULL if full else TileKind.PARTIAL

    def row_limits(self, q_len: int, kv_len: int) -> Limits | None:
        if is_compiling():
            return None  # whether there are gaps depends on numbers
        count = self.keep.sum(-1, keepdim=True)
        first = self.keep.to(torch.uint8).argmax(-1, keepdim=True) if kv_len else count
        inside = torch.arange(kv_len, device=self.keep.device)
        run = (inside >= first) & (inside < first + count)
        return (first, first + count) if torch.equal(run, self.keep) else None

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        _check_batch("keys()", self.keep.shape[0], batch)
        if self.keep.shape[1] != kv_len:
            raise ValueError(f"keys() describes {self.keep.shape[1]} keys, kv_len is {kv_len}")

    def part(self, batch: slice, heads: slice) -> Mask:
        return Keys(_pick(self.keep, 0, batch))

    def __str__(self) -> str:
        return f"keys({int(self.keep.sum())} of {self.keep.numel()})"


@dataclass(frozen=True, eq=False)
class Documents(Mask):
    ids: Tensor
    key_ids: Tensor

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        ids = _pick(self.ids.to(device), 0, tile.batch)[:, tile.rows, None]
        key_ids = _pick(self.key_ids.to(device), 0, tile.batch)[:, None, tile.cols]
        return (ids == key_ids)[:, None]

    def kind(self, tile: Tile) -> TileKind:
        ids = _pick(self.ids, 0, tile.batch)[:, tile.rows]
        key_ids = _pick(self.key_ids, 0, tile.batch)[:, tile.cols]
        if ids.numel() == 0 or key_ids.numel() == 0:
            return TileKind.EMPTY
        (low, high), (key_low, key_high) = (torch.aminmax(x, dim=-1) for x in (ids, key_ids))
        # ranges that do not meet share no document; with sorted ids this finds every empty tile
        if bool(((high < key_low) | (key_high < low)).all()):
            return TileKind.EMPTY
        same = (low == high) & (key_low == key_high) & (low == key_low)
        return TileKind.FULL if bool(same.all()) else TileKind.PARTIAL

    def row_limits(self, q_len: int, kv_len: int) -> Limits | None:
        # no difference: in small integers it wraps around
        if is_compiling() or bool((self.key_ids[:, 1:] < self.key_ids[:, :-1]).any()):
            return None  # documents that are not in order may be in pieces
        batch = max(self.ids.shape[0], self.key_ids.shape[0])
        ids = self.ids.expand(batch, -1).contiguous()
        key_ids = self.key_ids.expand(batch, -1).contiguous()
        return torch.searchsorted(key_ids, ids), torch.searchsorted(key_ids, ids, right=True)

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        for name, side, length in (("ids", self.ids, q_len), ("key_ids", self.key_ids, kv_len)):
            _check_batch(f"documents({name}=)", side.shape[0], batch)
            if side.shape[1] != length:
                raise ValueError(
                    f"documents({name}=) has length {side.shape[1]}, expected {length}"
                )

    def part(self, batch: slice, heads: slice) -> Mask:
        return Documents(_pick(self.ids, 0, batch), _pick(self.key_ids, 0, batch))

    def __str__(self) -> str:
        return f"documents({int(self.ids.unique().numel())} documents)"


@dataclass(frozen=True, eq=False)
class Dense(Mask):
    allowed: Tensor

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        part = self.allowed.to(device)
        for dim, span in enumerate(tile):
            part = _pick(part, dim, span)
        return part

    def kind(self, tile: Tile) -> TileKind:
        part = self.tile(tile, self.allowed.device)
        if not bool(part.any()):
            return TileKind.EMPTY
        return TileKind.FULL if bool(part.all()) else TileKind.PARTIAL

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        shape = (batch, num_heads, q_len, kv_len)
        found = tuple(self.allowed.shape)
        if any(n not in (1, want) for n, want in zip(found, shape, strict=True)):
            raise ValueError(f"attn_mask of shape {found} does not broadcast to {shape}")

    def part(self, batch: slice, heads: slice) -> Mask:
        return Dense(_pick(_pick(self.allowed, 0, batch), 1, heads))

    def __str__(self) -> str:
        return f"dense({list(self.allowed.shape)})"


@dataclass(frozen=True, eq=False)
class Predicate(Mask):
    mask_mod: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = field(repr=False)

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        b, h, q, k = (
            torch.arange(s.start, s.stop, device=device).reshape(
                [-1 if dim == axis else 1 for axis in range(4)]
            )
            for dim, s in enumerate(tile)
        )
        allowed = self.mask_mod(b, h, q, k)
        if not isinstance(allowed, Tensor) or allowed.dtype != torch.bool:
            raise TypeError("mask_mod must return a bool tensor: True = may attend")
        return allowed.reshape((1,) * (4 - allowed.dim()) + tuple(allowed.shape))

    def part(self, batch: slice, heads: slice) -> Mask:
        mask_mod, b0, h0 = self.mask_mod, batch.start, heads.start
        return Predicate(lambda b, h, q, k: mask_mod(b + b0, h + h0, q, k))

    def __str__(self) -> str:
        return f"predicate({getattr(self.mask_mod, '__name__', 'mask_mod')})"
