"""Biases: what is added to the scores before softmax, as a rule rather than a matrix.

Every bias is linear in its parameter. That is what lets one piece of code differentiate all of
them: the gradient is collected tile by tile (`collect`), never as a `q_len × kv_len` matrix.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.compiler import is_compiling

from eyeline._types import Tile, TileFloat

__all__ = ["Alibi", "Bias", "RelativeBias", "TensorBias", "alibi_slopes", "relative_bucket"]


class Bias(ABC):
    """Something added to the scaled scores; -inf masks, other non-finite values are errors."""

    @property
    @abstractmethod
    def parameter(self) -> Tensor:
        """The tensor that takes the gradient."""

    @abstractmethod
    def tile(self, tile: Tile) -> TileFloat:
        """The bias written out for one tile, broadcastable to `tile.shape`."""

    @abstractmethod
    def collect(self, gradient: Tensor, scores_gradient: Tensor, tile: Tile) -> None:
        """Add a tile's `[batch, heads, rows, cols]` share to `gradient` in place."""

    @abstractmethod
    def part(self, batch: slice, heads: slice) -> "Bias":
        """The bias of some batch items and heads."""

    @abstractmethod
    def replace(self, parameter: Tensor) -> "Bias":
        """The same bias with another parameter of the same shape (the bias is linear in it)."""

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        """Raise `ValueError` if this bias cannot belong to weights of that shape (contract N4).

        In a compiled call numbers are not known yet: there the operator looks at them.
        """
        if is_compiling():
            return
        low, high = _extremes(self.parameter)
        if math.isnan(low) or high == math.inf:
            found = "NaN" if math.isnan(low) else "+inf"
            raise ValueError(f"{self} holds {found}: a bias may be finite, or -inf to mask")


class DiagonalBias(Bias):
    """A bias that depends on `key position - query position` alone: one number per diagonal."""

    @abstractmethod
    def diagonals(self, q_len: int, kv_len: int) -> Float[Tensor, "num_heads q_len+kv_len-1"]:
        """The bias of every `j - i`, from `-(q_len - 1)` to `kv_len - 1`."""


class Diagonals(DiagonalBias):
    """A number per head and diagonal `j - i`, from `-(q_len - 1)` to `kv_len - 1`.

    Args:
        values: `[num_heads, q_len + kv_len - 1]`.
        q_len: How many queries there are; which diagonal is the main one depends on it.
    """

    def __init__(self, values: Float[Tensor, "num_heads diagonals"], q_len: int) -> None:
        self.values, self.q_len = values, q_len

    @property
    def parameter(self) -> Tensor:
        return self.values

    def tile(self, tile: Tile) -> TileFloat:
        return _toeplitz(self._of(self.values, tile), tile)

    def diagonals(self, q_len: int, kv_len: int) -> Tensor:
        return self.values

    def collect(self, gradient: Tensor, scores_gradient: Tensor, tile: Tile) -> None:
        part = self._of(gradient, tile)
        part += _sum_diagonals(scores_gradient)

    def part(self, batch: slice, heads: slice) -> "Diagonals":
        return Diagonals(self.values[heads], self.q_len)

    def replace(self, parameter: Tensor) -> "Diagonals":
        return Diagonals(parameter, self.q_len)

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        wanted = (num_heads, max(q_len + kv_len - 1, 0))
        if tuple(self.values.shape) != wanted or self.q_len != q_len:
            raise ValueError(f"diagonals {list(self.values.shape)} should be {list(wanted)}")
        super().check(batch, num_heads, q_len, kv_len)

    def _of(self, values: Tensor, tile: Tile) -> Tensor:
        _, _, rows, cols = tile.shape
        first = tile.cols.start - (tile.rows.stop - 1) + self.q_len - 1
        return values[tile.heads, first : first + max(rows + cols - 1, 0)]

    def __str__(self) -> str:
        return f"diagonals({list(self.values.shape)})"


class TensorBias(Bias):
    """An explicit tensor that broadcasts to `[batch, num_heads, q_len, kv_len]`."""

    def __init__(self, values: Float[Tensor, "..."]) -> None:
        if not values.is_floating_point() or values.dim() > 4:
            raise ValueError(
                "a bias is a floating-point tensor of at most 4 dimensions, "
                f"got {values.dtype} {tuple(values.shape)}"
            )
        self.values = values.reshape((1,) * (4 - values.dim()) + tuple(values.shape))

    @property
    def parameter(self) -> Tensor:
        return self.values

    def tile(self, tile: Tile) -> TileFloat:
        return _narrow(self.values, tile)

    def collect(self, gradient: Tensor, scores_gradient: Tensor, tile: Tile) -> None:
        part = _narrow(gradient, tile)
        part += scores_gradient.sum_to_size(part.shape)

    def part(self, batch: slice, heads: slice) -> "TensorBias":
        whole = (slice(0, self.values.shape[2]), slice(0, self.values.shape[3]))
        return TensorBias(_narrow(self.values, Tile(batch, heads, *whole)))

    def replace(self, parameter: Tensor) -> "TensorBias":
        return TensorBias(parameter)

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        shape = (batch, num_heads, q_len, kv_len)
        if any(n not in (1, want) for n, want in zip(self.values.shape, shape, strict=True)):
            raise ValueError(
                f"bias of shape {tuple(self.values.shape)} does not broadcast to {shape}"
            )
        super().check(*shape)

    def __str__(self) -> str:
        return f"bias({list(self.values.shape)})"


class Alibi(DiagonalBias):
    """Attention with linear biases: `-slope[h] * |position(row) - col|`.

    Args:
        slopes: One positive number per head; `alibi_slopes(num_heads)` gives the paper's.
        offset: Position of query row 0 among the keys.

    References:
        Press, Smith, Lewis 2022, "Train Short, Test Long", section 3, arXiv:2108.12409.
    """

    def __init__(self, slopes: Float[Tensor, " num_heads"], offset: int = 0) -> None:
        if slopes.dim() != 1 or not slopes.is_floating_point():
            raise ValueError(f"Alibi takes one slope per head, [num_heads], got {slopes.shape}")
        self.slopes, self.offset = slopes, offset

    @property
    def parameter(self) -> Tensor:
        return self.slopes

    def tile(self, tile: Tile) -> TileFloat:
        return _toeplitz(self._along(tile)[tile.heads], tile)

    def diagonals(self, q_len: int, kv_len: int) -> Tensor:
        return self._along(_all_cells(q_len, kv_len))

    def collect(self, gradient: Tensor, scores_gradient: Tensor, tile: Tile) -> None:
        by_distance = _sum_diagonals(scores_gradient)
        gradient[tile.heads] -= by_distance @ self._distances(tile, gradient)

    def part(self, batch: slice, heads: slice) -> "Alibi":
        return Alibi(self.slopes[heads], self.offset)

    def replace(self, parameter: Tensor) -> "Alibi":
        return Alibi(parameter, self.offset)

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        if self.slopes.numel() != num_heads:
            raise ValueError(f"Alibi has {self.slopes.numel()} slopes, attention {num_heads} heads")
        super().check(batch, num_heads, q_len, kv_len)

    def _along(self, tile: Tile) -> Tensor:
        # half precision cannot count to 300, and would round the product too
        slopes = self.slopes.to(torch.promote_types(self.slopes.dtype, torch.float32))
        return -slopes[:, None] * self._distances(tile, slopes)

    def _distances(self, tile: Tile, like: Tensor) -> Tensor:
        return _relative_positions(tile, self.offset, like.device).abs().to(like.dtype)

    def __str__(self) -> str:
        return f"Alibi({self.slopes.numel()} heads)"


class RelativeBias(DiagonalBias):
    """T5's learned bias: one number per bucket of relative position and head.

    Args:
        table: `[num_buckets, num_heads]`, T5's `relative_attention_bias.weight`.
        bidirectional: True in encoders (half of the buckets for keys to the right); False in
            decoders, where keys to the right share bucket 0 with the query's own position.
        max_distance: Distances from here on share the last bucket.
        offset: Position of query row 0 among the keys.

    References:
        Raffel et al. 2020, section 2.1, arXiv:1910.10683. Buckets as in its released code.
    """

    def __init__(
        self,
        table: Float[Tensor, "num_buckets num_heads"],
        *,
        bidirectional: bool = True,
        max_distance: int = 128,
        offset: int = 0,
    ) -> None:
        if table.dim() != 2 or not table.is_floating_point():
            raise ValueError(
                f"RelativeBias takes a table [num_buckets, num_heads], got {tuple(table.shape)}"
            )
        least = 4 if bidirectional else 2
        if table.shape[0] < least:
            raise ValueError(f"RelativeBias needs at least {least} buckets, got {table.shape[0]}")
        if max_distance <= table.shape[0] // least:
            raise ValueError(
                f"max_distance must exceed the {table.shape[0] // least} exact buckets, "
                f"got {max_distance}"
            )
        self.table, self.offset = table, offset
        self.bidirectional, self.max_distance = bidirectional, max_distance

    @property
    def parameter(self) -> Tensor:
        return self.table

    def tile(self, tile: Tile) -> TileFloat:
        return _toeplitz(self.table[self._buckets(tile)][:, tile.heads].T, tile)

    def diagonals(self, q_len: int, kv_len: int) -> Tensor:
        return self.table[self._buckets(_all_cells(q_len, kv_len))].T

    def collect(self, gradient: Tensor, scores_gradient: Tensor, tile: Tile) -> None:
        by_distance = _sum_diagonals(scores_gradient).T.to(gradient.dtype)
        gradient[:, tile.heads] += torch.zeros_like(gradient[:, tile.heads]).index_add_(
            0, self._buckets(tile), by_distance
        )

    def part(self, batch: slice, heads: slice) -> "RelativeBias":
        return self.replace(self.table[:, heads])

    def replace(self, parameter: Tensor) -> "RelativeBias":
        return RelativeBias(
            parameter,
            bidirectional=self.bidirectional,
            max_distance=self.max_distance,
            offset=self.offset,
        )

    def check(self, batch: int, num_heads: int, q_len: int, kv_len: int) -> None:
        if self.table.shape[1] != num_heads:
            raise ValueError(
                f"RelativeBias has {self.table.shape[1]} heads, the attention {num_heads}"
            )
        super().check(batch, num_heads, q_len, kv_len)

    def _buckets(self, tile: Tile) -> Tensor:
        return relative_bucket(
            _relative_positions(tile, self.offset, self.table.device),
            bidirectional=self.bidirectional,
            num_buckets=self.table.shape[0],
            max_distance=self.max_distance,
        )

    def __str__(self) -> str:
        return f"RelativeBias({self.table.shape[0]} buckets)"


def alibi_slopes(num_heads: int) -> Float[Tensor, " num_heads"]:
    """The paper's slopes: `2^(-8/n), 2^(-16/n), …`, interleaved past a power of two."""
    if num_heads < 1:
        raise ValueError(f"num_heads must be at least 1, got {num_heads}")
    power = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(num_heads - power)]
    return torch.tensor(slopes)


def relative_bucket(
    relative_position: Int[Tensor, "..."],
    *,
    bidirectional: bool,
    num_buckets: int,
    max_distance: int,
) -> Int[Tensor, "..."]:
    """T5's bucket of `key position - query position`: exact when near, logarithmic when far."""
    bucket = torch.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        bucket += (relative_position > 0) * num_buckets
        distance = relative_position.abs()
    else:
        distance = (-relative_position).clamp(min=0)
    exact = num_buckets // 2
    # float32 on purpose: T5's own code rounds there, and a bucket border is where it would show
    growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (growth * (num_buckets - exact)).long()).clamp(max=num_buckets - 1)
    return bucket + torch.where(distance < exact, distance, far)


def _extremes(tensor: Tensor) -> tuple[float, float]:
    if tensor.numel() == 0:
        return 0.0, 0.0
    low, high = torch.aminmax(tensor.detach())
    return float(low), float(high)


def _narrow(tensor: Tensor, tile: Tile) -> Tensor:
    for dim, span in enumerate(tile):
        if tensor.shape[dim] != 1:
            tensor = tensor.narrow(dim, span.start, span.stop - span.start)
    return tensor


def _relative_positions(tile: Tile, offset: int, device: torch.device) -> Int[Tensor, " diagonals"]:
    """Key minus query position of a tile's `rows + cols - 1` diagonals, bottom-left first."""
    _, _, rows, cols = tile.shape
    first = tile.cols.start - (tile.rows.stop - 1 + offset)
    return torch.arange(first, first + max(rows + cols - 1, 0), device=device)


def _all_cells(q_len: int, kv_len: int) -> Tile:
    return Tile(slice(0, 1), slice(0, 1), slice(0, q_len), slice(0, kv_len))


def _toeplitz(diagonals: Float[Tensor, "heads diagonals"], tile: Tile) -> TileFloat:
    """Spread one number per diagonal over the tile."""
    if 0 in tile.shape:
        return diagonals.new_zeros(1, diagonals.shape[0], *tile.shape[2:])
    windows = diagonals.unfold(-1, tile.shape[3], 1)  # row r is the window that starts at rows-1-r
    return windows.flip(-2)[None]


def _sum_diagonals(values: Float[Tensor, "batch heads rows cols"]) -> Tensor:
    """The transpose of `_toeplitz`: `[heads, diagonals]` sums, bottom-left first."""
    values = values.sum(0)
    heads, rows, cols = values.shape
    # Padding each row by `rows` and cutting the flat result one column short shifts row r by r.
    sheared = torch.nn.functional.pad(values.flip(-2), (0, rows)).reshape(heads, -1)
    return sheared[:, : rows * (rows + cols - 1)].reshape(heads, rows, rows + cols - 1).sum(1)
