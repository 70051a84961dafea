"""What can be asked of the weights without holding them, and the answers."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor

Reduce = Literal["sum", "max", "mean"]


class Normalizer(NamedTuple):
    """What turns the scores of a row into weights: `exp(score - maximum) / total`.

    Two numbers rather than their logsumexp: in float32 a row at -1e9 (where padding ends up) has no
    digits left for log(total), and its weights would sum to n instead of 1.

    Attributes:
        maximum: Largest live score of each row, a sink among them; -inf where a query sees nothing.
        total: Sum of `exp(score - maximum)`; 0 where a query sees nothing.
    """

    maximum: Float[Tensor, "batch num_heads q_len"]
    total: Float[Tensor, "batch num_heads q_len"]

    @property
    def logsumexp(self) -> Float[Tensor, "batch num_heads q_len"]:
        """Natural logarithm of each row's sum of exponentials; -inf where a query sees nothing."""
        return self.maximum + torch.log(self.total)

    def weights(self, scores: Float[Tensor, "batch num_heads q_len n"]) -> Tensor:
        """Weights of scores; 0 in rows that see nothing. `scores` is overwritten."""
        nothing = self.total == 0
        maximum = self.maximum.masked_fill(nothing, 0)[..., None]
        # scores computed in another shape may pass the maximum by a rounding, which is large
        # where scores are: a weight never exceeds 1 / total
        shifted = scores.sub_(maximum).clamp_(max=0)
        return shifted.exp_().div_(self.total.masked_fill(nothing, 1)[..., None])

    def part(self, *index: slice) -> "Normalizer":
        """Some batch items, heads and rows."""
        return Normalizer(self.maximum[index], self.total[index])


class TopK(NamedTuple):
    """The k largest weights of each query, largest first, ties to the lower key index.

    Where a query may see fewer than k keys, and in a row that holds NaN, the index is -1.
    """

    values: Float[Tensor, "batch num_heads q_len k"]
    indices: Int[Tensor, "batch num_heads q_len k"]


@dataclass(frozen=True)
class Pooling:
    """A picture of the weights with `rows × cols` cells."""

    rows: int
    cols: int
    reduce: Reduce = "sum"

    def __post_init__(self) -> None:
        if not all(isinstance(n, SupportsIndex) for n in (self.rows, self.cols)):
            raise TypeError(
                "pooled needs whole numbers of rows and columns, got "
                f"{self.rows!r}, {self.cols!r} (and reduce= by its name)"
            )
        if min(self.rows, self.cols) < 1:
            raise ValueError(
                f"pooled needs at least 1 row and 1 column, got {self.rows}, {self.cols}"
            )
        if self.reduce not in ("sum", "max", "mean"):
            raise ValueError(f"reduce must be 'sum', 'max' or 'mean', got {self.reduce!r}")

    def shape(self, weights: tuple[int, int, int, int]) -> tuple[int, int]:
        """Cells along either side: never more than there are queries or keys."""
        return min(self.rows, max(weights[2], 1)), min(self.cols, max(weights[3], 1))


@dataclass(frozen=True)
class Wants:
    """Which statistics to compute; the normalizer always comes with them."""

    top_k: int = 0
    entropy: bool = False
    received: bool = False
    pooled: Pooling | None = None
    output: bool = False
    unrounded: bool = False  # the output before it was rounded to its dtype, too: kernels only

    def __post_init__(self) -> None:
        if self.top_k < 0:
            raise ValueError(f"top_k must not be negative, got {self.top_k}")


class RowNumbers(NamedTuple):
    """What one may want the gradient of besides the output, `[batch, num_heads, q_len]` each.

    Attributes:
        logsumexp: Natural logarithm of each row's sum of exponentials; -inf where nothing is seen.
        entropy: `-sum w log w` of each row, in nats.
    """

    logsumexp: Float[Tensor, "batch num_heads q_len"]
    entropy: Float[Tensor, "batch num_heads q_len"]


class RowGradients(NamedTuple):
    """The gradients of `RowNumbers`, and the entropies, which the scores' gradients are made of.

    With H the entropy of a row and s the weight of its sink (0 without one):

        dlse / dscore_j = w_j        dH / dscore_j = -w_j (log w_j + H + s)
        dlse / dsink    = s          dH / dsink    = s (1 - s - H)
    """

    logsumexp: Tensor
    entropy: Tensor
    entropies: Tensor


@dataclass
class Statistics:
    """Answers in the computing dtype; None where nothing was asked.

    Attributes:
        normalizer: Maximum and sum of each row, `[batch, num_heads, q_len]` each.
        top_k: The largest weights and their keys.
        entropy: `-sum w log w` of each row in nats, `[batch, num_heads, q_len]`.
        received: Sum of each column, `[batch, num_heads, kv_len]`.
        pooled: `[batch, num_heads, rows, cols]`.
        output: The attention output, `[batch, num_heads, q_len, value_dim]`.
        unrounded: The output in float32, where it has another dtype and the kernels were asked.
        rows: The weights of some queries, `[batch, num_heads, len(rows), kv_len]`.
    """

    normalizer: Normalizer
    top_k: TopK | None = None
    entropy: Tensor | None = None
    received: Tensor | None = None
    pooled: Tensor | None = None
    output: Tensor | None = None
    unrounded: Tensor | None = None
    rows: Tensor | None = None

    @property
    def logsumexp(self) -> Tensor:
        """Natural logarithm of each row's sum of exponentials, `[batch, num_heads, q_len]`."""
        return self.normalizer.logsumexp


def cells(length: int, count: int, start: int = 0, stop: int | None = None) -> Tensor:
    """The cell of each index: `index * count // length`, so each index is in exactly one cell."""
    return torch.arange(start, length if stop is None else stop) * count // max(length, 1)


def pool_dense(
    weights: Float[Tensor, "batch heads rows cols"],
    row_cell: Int[Tensor, " rows"],
    col_cell: Int[Tensor, " cols"],
    shape: tuple[int, int],
    reduce: Reduce,
) -> Float[Tensor, "batch heads row_cells col_cells"]:
    """Pool explicit weights into cells; a NaN reaches its own cell only."""
    row_cell, col_cell = row_cell.to(weights.device), col_cell.to(weights.device)
    kind = "amax" if reduce == "max" else "sum"
    result = weights
    for dim, cell, count in ((3, col_cell, shape[1]), (2, row_cell, shape[0])):
        size = list(result.shape)
        size[dim] = count
        index = cell.reshape([-1 if d == dim else 1 for d in range(4)]).expand(result.shape)
        result = result.new_zeros(size).scatter_reduce(dim, index, result, kind)
    if reduce == "mean":
        area = torch.bincount(row_cell, minlength=shape[0])[:, None] * torch.bincount(
            col_cell, minlength=shape[1]
        )
        result = result / area.clamp(min=1)
    return result


def divide_by_area(weights: tuple[int, int, int, int], pooled: Tensor | None) -> None:
    """Turn the sums in cells into means, in place; `weights` is the shape of what was pooled."""
    assert pooled is not None
    counts = [
        torch.bincount(cells(length, count), minlength=count)
        for length, count in zip(weights[2:], pooled.shape[2:], strict=True)
    ]
    pooled.div_((counts[0][:, None] * counts[1]).to(pooled.device))
