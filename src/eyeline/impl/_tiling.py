"""How a problem is cut into panels: some heads, a block of queries, and the keys that are live.

Shape suffixes in this file and in `tiled`: B batch, H query heads, K key/value heads, L query rows,
S keys, D head width; N = B·K folded, M = (H/K)·L folded, so that the query heads of a group share
one matrix product with their key head and nothing is repeated.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eyeline._types import Tile, TileKind
from eyeline.impl import _scores
from eyeline.impl._hazards import Hazards
from eyeline.impl._problem import Problem

PANEL_NUMBERS = 2**21
"""Numbers in one panel: 8 MB in float32, which stays in cache between the passes over it."""

ROWS = 256
KEY_STEP = 128
"""Masks are asked about tiles of this many keys."""


@dataclass(frozen=True)
class Span:
    """Neighbouring live keys, and the parts of them where the mask has to be evaluated."""

    cols: slice
    partial: tuple[slice, ...]


def chunks(problem: Problem, rows: int) -> Iterator[tuple[slice, slice]]:
    """Batch items and query heads that fit into one panel together, whole groups at a time."""
    batch, heads, q_len, _ = problem.shape
    width = min(rows, max(q_len, 1)) * max(_live_width(problem, rows), 1)
    group = problem.group
    num_heads = min(max(PANEL_NUMBERS // width // group, 1) * group, heads)
    num_items = max(PANEL_NUMBERS // (width * heads), 1) if num_heads == heads else 1
    for b in range(0, batch, num_items):
        for h in range(0, heads, num_heads):
            yield slice(b, min(b + num_items, batch)), slice(h, min(h + num_heads, heads))


def row_blocks(problem: Problem, rows: int) -> Iterator[slice]:
    """All query rows, `rows` at a time."""
    q_len = problem.shape[2]
    for start in range(0, q_len, rows):
        yield slice(start, min(start + rows, q_len))


def rows_per_block(problem: Problem, least: int = 32) -> int:
    """Query rows of a block: fewer when the keys are many, so that a panel stays a panel."""
    kv_len = max(problem.shape[3], 1)
    return max(min(ROWS, PANEL_NUMBERS // (kv_len * max(problem.group, 1))), least)


def live_spans(problem: Problem, tile: Tile, widest: int | None = None) -> list[Span]:
    """The keys of `tile.cols` that some query of the tile may see, empty tiles left out.

    Args:
        problem: The attention call.
        tile: Rows and heads of the block, and the keys to look among.
        widest: Cut spans that are longer than this.
    """
    start, stop = tile.cols.start, tile.cols.stop
    if problem.mask is None:
        found = [Span(tile.cols, ())] if stop > start else []
    else:
        found = _merge(problem, tile)
    if widest is None:
        return found
    return [piece for span in found for piece in _cut(span, widest)]


def _merge(problem: Problem, tile: Tile) -> list[Span]:
    spans: list[Span] = []
    for begin in range(tile.cols.start, tile.cols.stop, KEY_STEP):
        cols = slice(begin, min(begin + KEY_STEP, tile.cols.stop))
        kind = _scores.tile_kind(problem, tile._replace(cols=cols))
        if kind is TileKind.EMPTY:
            continue
        partial = (cols,) if kind is TileKind.PARTIAL else ()
        if spans and spans[-1].cols.stop == cols.start:
            last = spans.pop()
            partial = _join(last.partial, partial)
            cols = slice(last.cols.start, cols.stop)
        spans.append(Span(cols, partial))
    return spans


def _join(left: tuple[slice, ...], right: tuple[slice, ...]) -> tuple[slice, ...]:
    if left and right and left[-1].stop == right[0].start:
        return (*left[:-1], slice(left[-1].start, right[0].stop), *right[1:])
    return left + right


def _cut(span: Span, widest: int) -> Iterator[Span]:
    for start in range(span.cols.start, span.cols.stop, widest):
        stop = min(start + widest, span.cols.stop)
        inside = [slice(max(p.start, start), min(p.stop, stop)) for p in span.partial]
        yield Span(slice(start, stop), tuple(p for p in inside if p.start < p.stop))


def _live_width(problem: Problem, rows: int) -> int:
    """Live keys of the widest of three blocks: what a panel's width will be, roughly."""
    batch, heads, q_len, kv_len = problem.shape
    if problem.mask is None or q_len == 0 or batch == 0:
        return kv_len
    widths = []
    for start in (0, q_len // 2 // rows * rows, (q_len - 1) // rows * rows):
        block = slice(start, min(start + rows, q_len))
        tile = Tile(slice(0, batch), slice(0, heads), block, slice(0, kv_len))
        widths.append(sum(s.cols.stop - s.cols.start for s in live_spans(problem, tile)))
    return max(widths) or KEY_STEP


class Panels:
    """The matrix products of one chunk of heads: keys and values folded once, scores by block."""

    def __init__(
        self,
        problem: Problem,
        hazards: Hazards | None,
        batch: slice,
        heads: slice,
        scratch: dict[str, Tensor] | None = None,
    ) -> None:
        self.problem, self.hazards = problem, hazards
        self.batch, self.heads = batch, heads
        self.dtype = problem.compute_dtype
        group = problem.group
        self.kv_heads = slice(heads.start // group, heads.stop // group)
        self.key_NSD = self._fold_kv(problem.key)
        self.value_NSD = self._fold_kv(problem.value)
        self.shrink = 1.0 if hazards is None else hazards.shrink
        if self.shrink != 1:
            self.value_NSD = self.value_NSD * self.shrink
        self._scratch = {} if scratch is None else scratch

    def tile(self, rows: slice, cols: slice) -> Tile:
        """The rectangle of the weights that this chunk's heads have at `rows × cols`."""
        return Tile(self.batch, self.heads, rows, cols)

    def fold(self, tensor: Tensor, rows: slice) -> Tensor:
        """Rows of a `[B, H, L, D]` tensor as `[N, M, D]`, in the computing dtype."""
        part = tensor[self.batch, self.heads, rows].to(self.dtype)
        b, h, r, width = part.shape
        n = self.key_NSD.shape[0]
        return part.reshape(n, b * h * r // max(n, 1), width)

    def unfold(self, folded: Tensor, rows: slice) -> Tensor:
        """`[N, M, X]` back to `[B, H, L, X]`."""
        b, h = self.batch.stop - self.batch.start, self.heads.stop - self.heads.start
        return folded.view(b, h, rows.stop - rows.start, folded.shape[-1])

    def buffer(self, name: str, *shape: int) -> Tensor:
        """Scratch that is kept from block to block, and between chunks that share it."""
        size = 1
        for n in shape:
            size *= n
        if name not in self._scratch or self._scratch[name].numel() < size:
            device = self.problem.query.device
            self._scratch[name] = torch.empty(size, dtype=self.dtype, device=device)
        return self._scratch[name][:size].view(shape)

    def scores(self, query_NMD: Tensor, rows: slice, span: Span, name: str = "scores") -> "Scores":
        """What softmax sees at `rows × span`: minus infinity where masked.

        Args:
            query_NMD: The block's queries, already multiplied by the scale.
            rows: Which rows they are.
            span: Which keys.
            name: The scratch buffer to use.
        """
        n, m, _ = query_NMD.shape
        key_NDS = self.key_NSD[:, span.cols].transpose(1, 2)
        out = self.buffer(name, n, m, span.cols.stop - span.cols.start)
        torch.bmm(query_NMD, key_NDS, out=out)
        tile = self.tile(rows, span.cols)
        scores = self.unfold(out, rows)
        if self.hazards is not None:
            kind = _scores.tile_kind(self.problem, tile)
            mask = _scores.allowed(self.problem, tile, kind)
            scores, live, bad = _scores.careful_modify_(
                scores, self.problem, tile, mask, self.hazards
            )
            return Scores(out, live, bad)
        _scores.modify_(scores, self.problem, tile, None)
        for cols in span.partial:
            mask = self.problem.mask.tile(tile._replace(cols=cols), scores.device)  # type: ignore[union-attr]
            begin = cols.start - span.cols.start
            part = scores[..., begin : begin + cols.stop - cols.start]
            if self.problem.biases:  # a bias may overflow where it is hidden: inf - inf is NaN
                part.masked_fill_(~mask, -torch.inf)
                continue
            # adding 0 or -inf is several times faster than masked_fill where the mask broadcasts
            hide = torch.zeros(mask.shape, dtype=self.dtype, device=scores.device)
            part.add_(hide.masked_fill_(~mask, -torch.inf))
        return Scores(out, None, None)

    def join_sink(
        self, rows: slice, top: Tensor, total: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | float]:
        """Let the sinks take part in the maximum and the sum of a block's rows.

        Args:
            rows: The block of queries.
            top: Largest score of each row, `[N, M, 1]`; rows at minus infinity stay as they are.
            total: Sum of `exp(score - top)`.

        Returns:
            The maximum and the sum with the sink among them, and what `exp(score - top)` must be
            multiplied by to be `exp(score - maximum)`.
        """
        if self.problem.sinks is None:
            return top, total, 1.0
        dead = top == -torch.inf
        sink = self.sink_column(rows)
        maximum = torch.maximum(top, sink).masked_fill(dead, -torch.inf)
        finite = maximum.masked_fill(dead, 0)
        share = torch.exp(top - finite)  # 0 in dead rows
        return maximum, total * share + torch.exp(sink - finite).masked_fill(dead, 0), share

    def sink_column(self, rows: slice) -> Tensor:
        """The sink logit of each folded row, `[N, M, 1]`."""
        assert self.problem.sinks is not None
        sinks = self.problem.sinks.detach()[self.heads].to(self.dtype)
        b, r = self.batch.stop - self.batch.start, rows.stop - rows.start
        return sinks[None, :, None].expand(b, -1, r).reshape(self.key_NSD.shape[0], -1, 1)

    def _fold_kv(self, tensor: Tensor) -> Tensor:
        return tensor[self.batch, self.kv_heads].to(self.dtype).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a panel; with hazards about, also which cells are live and which are bad."""

    panel_NMS: Tensor
    live: Tensor | None
    bad: Tensor | None
