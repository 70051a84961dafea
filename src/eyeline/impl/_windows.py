"""Explicit weights of any rectangle, from each row's maximum and sum, piece by piece."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from eyeline._types import Tile
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Normalizer
from eyeline.impl._tiling import PANEL_NUMBERS, Panels, Span


def stream(problem: Problem, normalizer: Normalizer, tile: Tile) -> Iterator[tuple[Tile, Tensor]]:
    """Row blocks of a few heads of `tile`, each with its weights `[batch, heads, rows, cols]`."""
    if min(tile.shape) == 0:
        return
    clean, hazards = find_hazards(problem, use_value=False)
    group = problem.group
    width = tile.cols.stop - tile.cols.start
    rows_each = max(min(PANEL_NUMBERS // width, tile.shape[2]), 1)
    heads_each = max(PANEL_NUMBERS // (width * rows_each), 1)
    for b in range(tile.batch.start, tile.batch.stop):
        for h in range(tile.heads.start, tile.heads.stop, heads_each):
            # whole groups are computed, then cut down to the heads that were asked for
            stop = min(h + heads_each, tile.heads.stop)
            heads = slice(h // group * group, -(-stop // group) * group)
            panels = Panels(clean, hazards, slice(b, b + 1), heads)
            for r in range(tile.rows.start, tile.rows.stop, rows_each):
                rows = slice(r, min(r + rows_each, tile.rows.stop))
                weights = _weights(panels, normalizer, rows, tile.cols)
                part = Tile(slice(b, b + 1), slice(h, stop), rows, tile.cols)
                yield part, weights[:, h - heads.start : stop - heads.start]


def _weights(panels: Panels, normalizer: Normalizer, rows: slice, cols: slice) -> Tensor:
    query = panels.fold(panels.problem.query, rows) * panels.problem.scale
    scores = panels.scores(query, rows, Span(cols, (cols,) if panels.problem.mask else ()))
    here = normalizer.part(panels.batch, panels.heads, rows)
    weights = here.weights(panels.unfold(scores.panel_NMS, rows).clone())
    # a row that saw something bad is NaN where it may attend, and 0 where it may not
    return weights if scores.live is None else weights.where(scores.live, 0)


def select(problem: Problem, batch: slice, heads: slice) -> Problem:
    """The problem of some batch items and some query heads; the key heads they share stay whole."""
    group = problem.group
    picked = range(heads.start, heads.stop)
    kv = [h // group for h in picked]
    if len(picked) == 1 or group == 1:
        kv_heads = slice(kv[0], kv[-1] + 1)
        key, value = problem.key[batch, kv_heads], problem.value[batch, kv_heads]
    else:
        key, value = problem.key[batch], problem.value[batch]
    return replace(
        problem,
        query=problem.query[batch, heads],
        key=key,
        value=value,
        mask=None if problem.mask is None else problem.mask.part(batch, heads),
        biases=tuple(b.part(batch, heads) for b in problem.biases),
        sinks=None if problem.sinks is None else problem.sinks[heads],
    )
