"""Explicit weights of any rectangle, from each row's maximum and sum, piece by piece."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from eyeline._types import Tile
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Normalizer, Reduce, pool_dense
from eyeline.impl._tiling import PANEL_NUMBERS, Panels, Span


def pieces(problem: Problem, tile: Tile) -> Iterator[Tile]:
    """A tile cut into row blocks of a few heads of one batch item."""
    if min(tile.shape) == 0:
        return
    width = tile.cols.stop - tile.cols.start
    rows_each = max(min(PANEL_NUMBERS // width, tile.shape[2]), 1)
    heads_each = max(PANEL_NUMBERS // (width * rows_each), 1)
    for b in range(tile.batch.start, tile.batch.stop):
        for h in range(tile.heads.start, tile.heads.stop, heads_each):
            heads = slice(h, min(h + heads_each, tile.heads.stop))
            for r in range(tile.rows.start, tile.rows.stop, rows_each):
                rows = slice(r, min(r + rows_each, tile.rows.stop))
                yield Tile(slice(b, b + 1), heads, rows, tile.cols)


def stream(problem: Problem, normalizer: Normalizer, tile: Tile) -> Iterator[tuple[Tile, Tensor]]:
    """Row blocks of a few heads of `tile`, each with its weights `[batch, heads, rows, cols]`."""
    clean, hazards = find_hazards(problem, use_value=False)
    group = problem.group
    panels: Panels | None = None
    for part in pieces(problem, tile):
        # whole groups are computed, then cut down to the heads that were asked for
        first, last = part.heads.start, part.heads.stop
        heads = slice(first // group * group, -(-last // group) * group)
        if panels is None or (panels.batch, panels.heads) != (part.batch, heads):
            panels = Panels(clean, hazards, part.batch, heads)
        weights = _weights(panels, normalizer, part.rows, part.cols)
        yield part, weights[:, first - heads.start : last - heads.start]


def pixels(
    problem: Problem, normalizer: Normalizer, tile: Tile, pixel: int, reduce: Reduce
) -> Tensor:
    """Sums or maxima of `pixel × pixel` weights of a tile, `[batch, heads, height, width]`."""
    batch, heads, rows, cols = tile.shape
    height, width = -(-rows // pixel), -(-cols // pixel)
    result = normalizer.total.new_zeros(batch, heads, height, width)
    col_cell = torch.arange(cols) // pixel
    for part, weights in stream(problem, normalizer, tile):
        first = part.rows.start - tile.rows.start
        row_cell = torch.arange(first, first + weights.shape[2]) // pixel
        used = slice(int(row_cell[0]), int(row_cell[-1]) + 1)
        shape = (used.stop - used.start, width)
        found = pool_dense(weights, row_cell - used.start, col_cell, shape, reduce)
        b, h, *_ = part.within(tile)
        target = result[b, h, used]
        target.copy_(torch.maximum(target, found) if reduce == "max" else target + found)
    return result


def _weights(panels: Panels, normalizer: Normalizer, rows: slice, cols: slice) -> Tensor:
    query = panels.fold(panels.problem.query, rows) * panels.problem.scale
    scores = panels.scores(query, rows, Span(cols, (cols,) if panels.problem.mask else ()))
    here = normalizer.part(panels.batch, panels.heads, rows)
    weights = here.weights(panels.unfold(scores.panel_NMS, rows).clone())
    # a row that saw something bad is NaN where it may attend, and 0 where it may not
    return weights if scores.live is None else weights.where(scores.live, 0)


def select(problem: Problem, batch: slice, heads: slice) -> Problem:
    """The problem of some batch items and one query head, or whole groups of them."""
    group = problem.group
    whole = heads.start % group == heads.stop % group == 0
    assert whole or heads.stop == heads.start + 1, "part of a group has no key heads of its own"
    kv_heads = slice(heads.start // group, -(-heads.stop // group))
    key, value = problem.key[batch, kv_heads], problem.value[batch, kv_heads]
    return replace(
        problem,
        query=problem.query[batch, heads],
        key=key,
        value=value,
        mask=None if problem.mask is None else problem.mask.part(batch, heads),
        biases=tuple(b.part(batch, heads) for b in problem.biases),
        sinks=None if problem.sinks is None else problem.sinks[heads],
    )
