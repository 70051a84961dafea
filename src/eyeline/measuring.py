"""`Measure`: what is wanted of the weights in one pass over them."""

from dataclasses import dataclass

from eyeline.impl._statistics import Pooling, Reduce, Wants

__all__ = ["Measure"]


@dataclass(frozen=True)
class Measure:
    """Statistics to take in one pass over the weights.

    Args:
        top_k: How many of the largest weights per query.
        entropy: Entropy of each query's weights.
        received: Attention that each key receives.
        pooled: A picture of the weights: cells along both sides, or `(rows, cols)`.
        reduce: What a cell of the picture is: "sum", "max" or "mean" of its weights.
        rows: Queries whose weights are wanted, all of them; -1 is the last query.
    """

    top_k: int = 0
    entropy: bool = False
    received: bool = False
    pooled: int | tuple[int, int] | None = None
    reduce: Reduce = "sum"
    rows: tuple[int, ...] = ()

    def wants(self, *, output: bool = False) -> Wants:
        """The same, as the implementations take it."""
        pooling = None
        if self.pooled is not None:
            size = self.pooled if isinstance(self.pooled, tuple | list) else (self.pooled,) * 2
            if len(size) != 2:
                raise ValueError(f"pooled needs (rows, columns) or one number, got {size}")
            pooling = Pooling(*size, reduce=self.reduce)
        return Wants(self.top_k, self.entropy, self.received, pooling, output)
