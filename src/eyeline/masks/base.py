"""What a mask is, and how masks are joined by `&`, `|` and `~`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import torch
from torch import Tensor
from torch.compiler import is_compiling

from eyeline._types import Tile, TileBool, TileKind

Limits: TypeAlias = tuple[Tensor, Tensor]
"""First key and one past the last key of each row."""


class Mask(ABC):
    """A rule that says of every query and key whether the query may attend to the key."""

    @abstractmethod
    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        """The rule written out for one tile; size 1 where it does not depend on batch, head, ….

        Returns:
            Bool, broadcastable to `tile.shape`; True = may attend.
        """

    def kind(self, tile: Tile) -> TileKind:
        """Whether the tile is empty or full; `PARTIAL` whenever that is not known cheaply."""
        return TileKind.PARTIAL

    def row_limits(self, q_len: int, kv_len: int) -> Limits | None:
        """The keys of each row as one interval, `first <= j < last`, where they are neighbours.

        Returns:
            Two integer tensors `[batch, q_len]`, either size 1 where it broadcasts; the interval
            may be empty (`first >= last`) or reach beyond the keys. None where some row's keys
            have gaps, or where that is not known.
        """
        return None

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        """Raise `ValueError` if this mask cannot belong to weights of that shape."""
        for part in self._parts():
            part.check(batch, num_heads, q_len, kv_len)

    def part(self, batch: slice, heads: slice) -> "Mask":
        """The mask of some batch items and heads, numbered from 0 again."""
        return self

    def to(self, device: torch.device | str) -> "Mask":
        """The same mask with its tensors (lengths, ids, …) on `device`."""
        moved = {
            f.name: value.to(device)
            for f in fields(self)  # type: ignore[arg-type]
            if isinstance(value := getattr(self, f.name), Tensor | Mask)
        }
        return replace(self, **moved) if moved else self  # type: ignore[type-var]

    def _parts(self) -> tuple["Mask", ...]:
        return ()

    def __and__(self, other: "Mask") -> "Mask":
        return And(self, _require_mask(other, "&"))

    def __or__(self, other: "Mask") -> "Mask":
        return Or(self, _require_mask(other, "|"))

    def __invert__(self) -> "Mask":
        return self.mask if isinstance(self, Not) else Not(self)


def _require_mask(other: object, symbol: str) -> Mask:
    if isinstance(other, Mask):
        return other
    raise TypeError(
        f"mask {symbol} {type(other).__name__}: join masks only; "
        "wrap a tensor as masks.dense(tensor)"
    )


@dataclass(frozen=True, eq=False)
class And(Mask):
    left: Mask
    right: Mask

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        return self.left.tile(tile, device) & self.right.tile(tile, device)

    def kind(self, tile: Tile) -> TileKind:
        left = self.left.kind(tile)
        if left is TileKind.EMPTY:
            return TileKind.EMPTY
        right = self.right.kind(tile)
        return (
            left if right is TileKind.FULL else right if left is TileKind.FULL else _empty_or(right)
        )

    def row_limits(self, q_len: int, kv_len: int) -> Limits | None:
        left, right = (side.row_limits(q_len, kv_len) for side in self._parts())
        if left is None or right is None:
            return None
        return torch.maximum(left[0], right[0]), torch.minimum(left[1], right[1])

    def part(self, batch: slice, heads: slice) -> Mask:
        return And(self.left.part(batch, heads), self.right.part(batch, heads))

    def _parts(self) -> tuple[Mask, ...]:
        return self.left, self.right

    def __str__(self) -> str:
        return f"{_bracket(self.left)} & {_bracket(self.right)}"


def _empty_or(kind: TileKind) -> TileKind:
    return TileKind.EMPTY if kind is TileKind.EMPTY else TileKind.PARTIAL


@dataclass(frozen=True, eq=False)
class Or(Mask):
    left: Mask
    right: Mask

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        return self.left.tile(tile, device) | self.right.tile(tile, device)

    def kind(self, tile: Tile) -> TileKind:
        left = self.left.kind(tile)
        if left is TileKind.FULL:
            return TileKind.FULL
        right = self.right.kind(tile)
        if right is TileKind.FULL:
            return TileKind.FULL
        both_empty = left is TileKind.EMPTY and right is TileKind.EMPTY
        return TileKind.EMPTY if both_empty else TileKind.PARTIAL

    def row_limits(self, q_len: int, kv_len: int) -> Limits | None:
        if is_compiling():
            return None  # whether there is a gap depends on numbers
        sides = [side.row_limits(q_len, kv_len) for side in self._parts()]
        if None in sides:
            return None
        (a, b), (c, d) = (_within(side, kv_len) for side in sides if side is not None)
        no_left, no_right = a >= b, c >= d
        if not bool((no_left | no_right | (torch.maximum(a, c) <= torch.minimum(b, d))).all()):
            return None  # a gap between the two
        first = torch.where(no_left, c, torch.where(no_right, a, torch.minimum(a, c)))
        last = torch.where(no_left, d, torch.where(no_right, b, torch.maximum(b, d)))
        return first, last

    def part(self, batch: slice, heads: slice) -> Mask:
        return Or(self.left.part(batch, heads), self.right.part(batch, heads))

    def _parts(self) -> tuple[Mask, ...]:
        return self.left, self.right

    def __str__(self) -> str:
        return f"{_bracket(self.left)} | {_bracket(self.right)}"


@dataclass(frozen=True, eq=False)
class Not(Mask):
    mask: Mask

    def tile(self, tile: Tile, device: torch.device | str = "cpu") -> TileBool:
        return ~self.mask.tile(tile, device)

    def kind(self, tile: Tile) -> TileKind:
        opposite = {TileKind.EMPTY: TileKind.FULL, TileKind.FULL: TileKind.EMPTY}
        return opposite.get(kind := self.mask.kind(tile), kind)

    def row_limits(self, q_len: int, kv_len: int) -> Limits | None:
        if is_compiling():
            return None  # which side the keys are on depends on numbers
        inner = self.mask.row_limits(q_len, kv_len)
        if inner is None:
            return None
        first, last = _within(inner, kv_len)
        from_start, to_end = (first <= 0) | (first >= last), last >= kv_len
        if not bool((from_start | to_end).all()):
            return None  # keys on both sides
        nothing = first >= last
        begin = torch.where(nothing, 0, torch.where(first <= 0, last, 0))
        return begin, torch.where(nothing | (first <= 0), kv_len, first)

    def part(self, batch: slice, heads: slice) -> Mask:
        return Not(self.mask.part(batch, heads))

    def _parts(self) -> tuple[Mask, ...]:
        return (self.mask,)

    def __str__(self) -> str:
        return f"~{_bracket(self.mask)}"


def _within(limits: Limits, kv_len: int) -> Limits:
    """Limits as tensors of one shape, cut to the keys there are."""
    first, last = torch.broadcast_tensors(*limits)
    return first.clamp(0, kv_len), last.clamp(0, kv_len)


def _bracket(mask: Mask) -> str:
    return f"({mask})" if isinstance(mask, And | Or) else str(mask)
