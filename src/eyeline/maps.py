"""`AttentionMap`: the `[batch, num_heads, q_len, kv_len]` weights that are never stored.

It keeps query, key, mask, bias, scale and the maximum and sum of each row, O(n·d), and computes
exactly what is asked: a cell, a row, a tile at any zoom, the largest weights, entropy, attention
received.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline import _map_files
from eyeline import impl as implementations
from eyeline._map_index import check_index, expand_ellipsis, needed_span
from eyeline._pyramid import areas, span
from eyeline._types import Tile
from eyeline.impl import _windows
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import (
    Normalizer,
    Pooling,
    Reduce,
    RowNumbers,
    Statistics,
    TopK,
    Wants,
)
from eyeline.masks import Mask
from eyeline.measuring import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AttentionMap", "TopK"]

DENSE_LIMIT = 256 * 2**20
"""Bytes of weights that `dense()` and indexing make without being told otherwise."""


class AttentionMap:
    """Attention weights as a lazy matrix. Made by `observe`, `watch` and `read`.

    A map refers to the query and key that it was made from. If somebody changes these in place, it
    raises rather than show weights that never were.

    `logsumexp` and `entropy()` of a map that `observe` made of inputs that require gradients carry
    gradients to these (and the map then keeps their graph); everything else is detached.
    """

    def __init__(
        self,
        problem: Problem,
        normalizer: Normalizer,
        impl: str = "auto",
        *,
        differentiable: bool = False,
    ) -> None:
        self._graph = problem.without_values() if differentiable else None
        self.problem = replace(
            problem.detached(),
            dropout_p=0.0,  # the map shows what softmax gave, before dropout
        )
        self.normalizer = normalizer
        self._impl = impl
        self._known: dict[Any, Any] = {}
        self._versions = _versions(self.problem)

    @property
    def logsumexp(self) -> Float[Tensor, "batch num_heads q_len"]:
        """Natural logarithm of each row's sum of exponentials; -inf where a query sees nothing."""
        rows = self._rows()
        return self.normalizer.logsumexp if rows is None else rows.logsumexp

    @property
    def shape(self) -> torch.Size:
        """`[batch, num_heads, q_len, kv_len]`."""
        return torch.Size(self.problem.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Weights are computed in float32 for half-precision inputs, else in the inputs' dtype."""
        return self.problem.compute_dtype

    @property
    def mask(self) -> Mask | None:
        """Who may look where, as a rule; None where everybody may."""
        return self.problem.mask

    @property
    def nbytes(self) -> int:
        """Bytes that the map keeps alive; the dense weights would take `numel() * itemsize`."""
        tensors = (self.problem.query, self.problem.key, self.problem.value, *self.normalizer)
        return sum(t.numel() * t.element_size() for t in tensors)

    def numel(self) -> int:
        """How many weights there are (none of them is stored)."""
        return math.prod(self.shape)

    def select(self, batch: int | None = None, head: int | None = None) -> "AttentionMap":
        """The lazy map of one batch item, one head, or both; it stays 4-D."""
        tile = self.problem.whole()
        if batch is not None:
            index = check_index(batch, self.shape[0], "batch item")
            tile = tile._replace(batch=slice(index, index + 1))
        if head is not None:
            index = check_index(head, self.shape[1], "head")
            tile = tile._replace(heads=slice(index, index + 1))
        part = AttentionMap(
            _windows.select(self.problem, tile.batch, tile.heads),
            self.normalizer.part(tile.batch, tile.heads),
            impl=self._impl,
        )
        part._versions = self._versions  # a copy cannot tell that its source has changed
        return part

    def detach(self) -> "AttentionMap":
        """The same map, statistics included, without the graph of what it was made of."""
        copy = self.reading_from(self.problem)
        copy._versions = self._versions
        copy._known.pop("rows", None)
        return copy

    def reading_from(self, problem: Problem) -> "AttentionMap":
        """The same map, statistics included, on another copy of its vectors."""
        copy = AttentionMap(problem, self.normalizer, impl=self._impl)
        copy._known = dict(self._known)
        return copy

    def __getitem__(self, index: Any) -> Tensor:
        """Exactly what torch's indexing of the dense weights gives; only what is asked is made.

        Takes integers, slices, `...` and tensors or lists of indices.

        Raises:
            MemoryError: The result would exceed `DENSE_LIMIT`; use `select` for a lazy head.
        """
        self._check_unchanged()
        index = expand_ellipsis(index if isinstance(index, tuple) else (index,))
        spans, inner = [], []
        for dim, (one, size) in enumerate(zip(index, self.shape, strict=True)):
            span, rest = needed_span(one, size, dim)
            spans.append(span)
            inner.append(rest)
        tile = Tile(*spans)
        self._refuse_beyond(DENSE_LIMIT, tile, "this index")
        return self._window(tile)[tuple(inner)]

    def dense(self, limit: int = DENSE_LIMIT) -> Float[Tensor, "batch num_heads q_len kv_len"]:
        """All weights as a tensor.

        Args:
            limit: Bytes it may take.

        Raises:
            MemoryError: It would take more than `limit`; the message says how much.
        """
        self._check_unchanged()
        self._refuse_beyond(limit, self.problem.whole(), "dense()")
        return self._window(self.problem.whole())

    def measure(
        self,
        *,
        top_k: int = 0,
        entropy: bool = False,
        received: bool = False,
        pooled: int | tuple[int, int] | None = None,
        reduce: Reduce = "sum",
        rows: tuple[int, ...] = (),
    ) -> Statistics:
        """Several statistics in one pass; those measured before are not computed again.

        Args:
            top_k: How many of the largest weights per query.
            entropy: Entropy of each query's weights, in nats.
            received: Attention that each key receives.
            pooled: A picture of the weights: cells along both sides, or `(rows, cols)`.
            reduce: What a cell is: "sum", "max" or "mean" of its weights.
            rows: Queries whose weights are wanted, all of them.

        Returns:
            The answers; what was not asked for is None.
        """
        return self.take(Measure(top_k, entropy, received, pooled, reduce, tuple(rows)))

    def take(self, measure: Measure) -> Statistics:
        """`measure`, with the request as an object."""
        wants = measure.wants()
        missing = Wants(
            top_k=0 if self._stored_top_k(wants.top_k) is not None else wants.top_k,
            entropy=wants.entropy and "entropy" not in self._known,
            received=wants.received and "received" not in self._known,
            pooled=None if wants.pooled in self._known else wants.pooled,
        )
        if missing != Wants():
            self._check_unchanged()
            chosen = implementations.choose(self._impl, self.problem, missing)
            self.remember(missing, chosen.measure(self.problem, missing))
        chosen_rows = ("rows", measure.rows)
        if measure.rows and chosen_rows not in self._known:
            self._known[chosen_rows] = torch.stack([self[:, :, i] for i in measure.rows], 2)
        return Statistics(
            normalizer=self.normalizer,
            top_k=self._stored_top_k(wants.top_k) if wants.top_k else None,
            entropy=self._known["entropy"] if wants.entropy else None,
            received=self._known["received"] if wants.received else None,
            pooled=self._known[wants.pooled] if wants.pooled is not None else None,
            rows=self._known[chosen_rows] if measure.rows else None,
        )

    def remember(self, asked: Measure | Wants, answers: Statistics) -> None:
        """Keep statistics that came with the forward pass."""
        wants = asked.wants() if isinstance(asked, Measure) else asked
        for name in ("top_k", "entropy", "received"):
            if (answer := getattr(answers, name)) is not None:
                self._known[name] = answer
        if answers.pooled is not None:
            self._known[wants.pooled] = answers.pooled

    def top_k(self, k: int) -> TopK:
        """The k largest weights of each query and their keys, largest first.

        Exact; ties go to the lower index. Where a query sees fewer than k keys the value is 0 and
        the index -1; never more columns than there are keys.
        """
        if k < 1:
            raise ValueError(f"top_k needs k of at least 1, got {k}")
        found = self.measure(top_k=k).top_k
        assert found is not None
        return found

    def entropy(self) -> Float[Tensor, "batch num_heads q_len"]:
        """`-sum w log w` of each row, in nats; a sink's share is not among the w."""
        rows = self._rows()
        if rows is not None:
            return rows.entropy
        found = self.measure(entropy=True).entropy
        assert found is not None
        return found

    def received(self) -> Float[Tensor, "batch num_heads kv_len"]:
        """How much each key is attended: the sum of its column."""
        found = self.measure(received=True).received
        assert found is not None
        return found

    def pooled(
        self, rows: int, cols: int | None = None, reduce: Reduce = "sum"
    ) -> Float[Tensor, "batch num_heads rows cols"]:
        """The weights reduced to `rows × cols` cells (never more than there are queries or keys).

        Index i of n belongs to cell `i * rows // n`, so cells never overlap and sums keep the mass.
        "max" keeps needles visible; "mean" divides a sum by the cell's area.
        """
        size = (rows, rows if cols is None else cols)
        found = self.measure(pooled=size, reduce=reduce).pooled
        assert found is not None
        return found

    def tile(
        self, level: int, i: int, j: int, reduce: Reduce = "sum"
    ) -> Float[Tensor, "batch num_heads height width"]:
        """One tile of the zoomable pyramid: 256×256 pixels (fewer at the edges) of 2^level weights.

        Args:
            level: 0 shows single weights; each level up halves both sides.
            i: Tile row.
            j: Tile column.
            reduce: What a pixel is of its `2^level × 2^level` weights.

        Returns:
            Exact at every level; the cost is that of the weights under the tile.
        """
        self._check_unchanged()
        Pooling(1, 1, reduce)
        rows = span("i", i, level, self.shape[2])
        cols = span("j", j, level, self.shape[3])
        tile = self.problem.whole()._replace(rows=rows, cols=cols)
        kind: Reduce = "max" if reduce == "max" else "sum"
        result = self._chosen().pixels(self.problem, self.normalizer, tile, 2**level, kind)
        if reduce == "mean":
            result /= areas(rows, cols, level).to(result.device)
        return result

    def stream(self, tile: Tile | None = None) -> Iterator[tuple[Tile, Tensor]]:
        """The weights of a tile piece by piece: row blocks of a few heads, never all at once."""
        self._check_unchanged()
        whole = self.problem.whole()
        yield from self._chosen().stream(self.problem, self.normalizer, tile or whole)

    def plot(self, **options: Any) -> "Axes":
        """A figure of one head for a paper; see `eyeline.view.figure.plot_map`.

        Args:
            options: `batch`, `head`, `queries` and `keys` (labels), `caption`, `cmap`, `ax`.
        """
        from eyeline.view.figure import plot_map

        return plot_map(self, **options)

    def save(self, path: str | Path) -> None:
        """Write the map (not the weights: O(n·d)) to a safetensors file, atomically."""
        self._check_unchanged()
        _map_files.save({"map": (self.problem, self.normalizer)}, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "AttentionMap":
        """Read a map that `save` wrote."""
        return cls(*_map_files.load(Path(path))["map"])

    def __repr__(self) -> str:
        batch, heads, q_len, kv_len = self.shape
        parts = [f"{batch} x {heads} heads, {q_len} queries x {kv_len} keys"]
        if self.problem.mask is not None:
            parts.append(str(self.problem.mask))
        parts += [str(b) for b in self.problem.biases]
        full = _bytes(self.numel() * self.dtype.itemsize)
        return f"AttentionMap({', '.join(parts)}; {_bytes(self.nbytes)} instead of {full})"

    def _chosen(self) -> ModuleType:
        return implementations.choose(self._impl, self.problem)

    def _rows(self) -> RowNumbers | None:
        """Numbers of the rows that carry gradients; None where no gradient is wanted."""
        if self._graph is None or not torch.is_grad_enabled():
            return None
        if "row numbers" not in self._known:
            self._check_unchanged()
            chosen = implementations.choose(self._impl, self._graph, Wants(entropy=True))
            self._known["row numbers"] = chosen.rows(self._graph)
        return self._known["row numbers"]

    def _window(self, tile: Tile) -> Tensor:
        result = self.normalizer.total.new_zeros(tile.shape)
        for part, weights in self._chosen().stream(self.problem, self.normalizer, tile):
            result[part.within(tile)] = weights
        return result

    def _stored_top_k(self, k: int) -> TopK | None:
        known = self._known.get("top_k")
        if k == 0:
            nothing = self.normalizer.total[..., None][..., :0]
            return TopK(nothing, nothing.long())
        if known is None or known.values.shape[-1] < min(k, self.shape[3]):
            return None
        return TopK(known.values[..., :k], known.indices[..., :k])

    def _refuse_beyond(self, limit: int, tile: Tile, what: str) -> None:
        size = math.prod(tile.shape) * self.dtype.itemsize
        if size > limit:
            raise MemoryError(
                f"{what} would take {_bytes(size)}, the limit is {_bytes(limit)}: ask for rows, "
                "tile(), pooled() or top_k(), take select(batch=, head=), or raise dense(limit=)"
            )

    def _check_unchanged(self) -> None:
        if self._versions is not None and _versions(self.problem) != self._versions:
            raise RuntimeError(
                "query or key was changed in place after the map was made: its weights are gone; "
                "clone the tensors before you change them"
            )


def _versions(problem: Problem) -> tuple[int, ...] | None:
    try:
        return problem.query._version, problem.key._version
    except RuntimeError:  # inference tensors keep no count
        return None


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
