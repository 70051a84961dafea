"""Small types that every layer shares."""

from enum import Enum
from typing import NamedTuple, TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor

from eyeline import (
    _first_calls as _first_calls,
)  # every computing part imports this file, and so passes there

Weights: TypeAlias = Float[Tensor, "batch num_heads q_len kv_len"]
TileBool: TypeAlias = Bool[Tensor, "#batch #heads #rows #cols"]
TileFloat: TypeAlias = Float[Tensor, "#batch #heads #rows #cols"]


class Tile(NamedTuple):
    """A rectangle of `[batch, heads, q_len, kv_len]`: four slices with both ends given."""

    batch: slice
    heads: slice
    rows: slice
    cols: slice

    @classmethod
    def whole(cls, batch: int, heads: int, q_len: int, kv_len: int) -> "Tile":
        """The tile that covers everything."""
        return cls(slice(0, batch), slice(0, heads), slice(0, q_len), slice(0, kv_len))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(batch, heads, rows, cols)` of the tile."""
        b, h, r, c = (s.stop - s.start for s in self)
        return b, h, r, c

    def within(self, other: "Tile") -> tuple[slice, slice, slice, slice]:
        """Where this tile lies in a tensor of the shape of `other`."""
        b, h, r, c = (
            slice(mine.start - its.start, mine.stop - its.start)
            for mine, its in zip(self, other, strict=True)
        )
        return b, h, r, c


class TileKind(Enum):
    """What a mask does to a tile: nobody may attend, everybody may, or it depends on the cell."""

    EMPTY = "empty"
    FULL = "full"
    PARTIAL = "partial"
