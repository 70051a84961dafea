"""Statistics in one pass over panels that hold all live keys of a block of queries.

A panel that is complete knows its own maximum and sum, so that one product Q K^T serves output,
logsumexp, entropy, top-k, column sums and pooled maps at once. Column sums and pooled maps need
the final sum of each row: that is why, unlike in `tiled`, the panel is complete.
"""

import torch
from torch import Tensor

from eyeline.impl._complete import Piece, complete_panel
from eyeline.impl._dropout import drop_
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import (
    Normalizer,
    Pooling,
    Statistics,
    TopK,
    Wants,
    cells,
    divide_by_area,
    pool_dense,
)
from eyeline.impl._strips import RowSums, exponentiate_
from eyeline.impl._tiling import Panels, chunks, row_blocks, rows_per_block


def measure(problem: Problem, wants: Wants) -> Statistics:
    """All of `wants`, at O(n·d) memory plus one panel."""
    problem, hazards = find_hazards(problem, use_value=wants.output)
    result = _empty(problem, wants)
    if min(problem.shape) == 0:
        return result
    rows_each = rows_per_block(problem, least=16)
    scratch: dict[str, Tensor] = {}
    for batch_chunk, head_chunk in chunks(problem, rows_each):
        panels = Panels(problem, hazards, batch_chunk, head_chunk, scratch)
        for rows in row_blocks(problem, rows_each):
            _measure_block(panels, rows, wants, result)
    if wants.pooled is not None and wants.pooled.reduce == "mean":
        divide_by_area(problem.shape, result.pooled)
    return result


def _empty(problem: Problem, wants: Wants) -> Statistics:
    batch, heads, q_len, kv_len = problem.shape
    options = {"dtype": problem.compute_dtype, "device": problem.query.device}
    per_row = (batch, heads, q_len)
    nothing = torch.zeros(per_row, **options)
    result = Statistics(Normalizer(nothing - torch.inf, nothing))
    if wants.top_k:
        k = min(wants.top_k, kv_len)
        result.top_k = TopK(
            torch.zeros(*per_row, k, **options),
            torch.full((*per_row, k), -1, dtype=torch.int64, device=problem.query.device),
        )
    if wants.entropy:
        result.entropy = torch.zeros(per_row, **options)
    if wants.received:
        result.received = torch.zeros(batch, heads, kv_len, **options)
    if wants.pooled is not None:
        result.pooled = torch.zeros(batch, heads, *wants.pooled.shape(problem.shape), **options)
    if wants.output:
        result.output = problem.query.new_zeros(*per_row, problem.value.shape[-1])
    return result


def _measure_block(panels: Panels, rows: slice, wants: Wants, result: Statistics) -> None:
    problem = panels.problem
    complete = complete_panel(panels, rows)
    if complete is None:
        return
    pieces, live, bad_row = complete.pieces, complete.live, complete.bad_row
    here = (panels.batch, panels.heads, rows)

    sums = exponentiate_(
        complete.panel_NMS,
        top_k=min(wants.top_k, problem.shape[3]),
        entropy=wants.entropy,
        masked=complete.may_hold_minus_infinity(problem),
    )
    weights = complete.panel_NMS  # exp(score - sums.top)
    dead = sums.top == -torch.inf
    top, total, share = panels.join_sink(rows, sums.top, sums.total)
    for target, found in zip(result.normalizer, (top, total), strict=True):
        target[here] = panels.unfold(found.masked_fill(bad_row, torch.nan), rows)[..., 0]
    # what makes weights of the panel: exactly 0 or NaN in rows that saw nothing or something bad
    norm = (share / total).masked_fill(dead, 0).masked_fill(bad_row, torch.nan)

    if sums.moment is not None:
        # w = e norm, log w = t + log norm: -sum w log w = -norm (sum e t + log norm sum e)
        log_norm = (sums.top - top - torch.log(total)).masked_fill(dead, 0)
        entropy = -(sums.moment + log_norm * sums.total) * norm
        entropy = entropy.clamp(min=0).masked_fill(dead & ~bad_row, 0)
        assert result.entropy is not None
        result.entropy[here] = panels.unfold(entropy, rows)[..., 0]
    if sums.best is not None:
        assert result.top_k is not None
        _store_top_k(panels, rows, pieces, sums, norm, result.top_k)
    if wants.received or wants.pooled is not None:
        poison = None if live is None else live & panels.unfold(bad_row, rows)
        finite_norm = norm.masked_fill(bad_row, 0)
        _store_columns(panels, rows, pieces, weights, finite_norm, poison, wants, result)
    if wants.output:
        assert result.output is not None
        output = _output(panels, rows, pieces, weights) * norm / panels.shrink
        output = output.masked_fill(dead & ~bad_row, 0)
        result.output[here] = panels.unfold(output, rows).to(result.output.dtype)


def _store_top_k(
    panels: Panels,
    rows: slice,
    pieces: list[Piece],
    sums: RowSums,
    norm: Tensor,
    result: TopK,
) -> None:
    assert sums.best is not None
    scores, position = sums.best
    key_of = torch.cat(
        [torch.arange(p.span.cols.start, p.span.cols.stop, device=scores.device) for p in pieces]
    )
    k = scores.shape[-1]
    none = (scores == -torch.inf) | norm.isnan()
    values = torch.exp(scores - sums.top.masked_fill(sums.top == -torch.inf, 0)) * norm
    here = (panels.batch, panels.heads, rows, slice(0, k))
    result.values[here] = panels.unfold(values, rows)
    result.indices[here] = panels.unfold(key_of[position].masked_fill(none, -1), rows)
    if k < result.values.shape[-1] and panels.hazards is not None:
        bad = panels.unfold(norm, rows).isnan()
        rest = (panels.batch, panels.heads, rows, slice(k, None))
        result.values[rest] = result.values[rest].masked_fill(bad, torch.nan)


def _store_columns(
    panels: Panels,
    rows: slice,
    pieces: list[Piece],
    weights: Tensor,
    norm: Tensor,
    poison: Tensor | None,
    wants: Wants,
    result: Statistics,
) -> None:
    """Column sums and pooled cells of the block, added to what earlier blocks left.

    Args:
        panels: The chunk of heads.
        rows: The block of queries.
        pieces: Where each span's keys stand in the panel.
        weights: Unnormalised weights, `[N, M, S]`.
        norm: What to multiply each row by; 0 for rows that see something bad.
        poison: Cells that must become NaN, `[batch, heads, rows, cols]`, if there are any.
        wants: Which statistics.
        result: Where they are added.
    """
    weights_BHLS, norm_BHL1 = panels.unfold(weights, rows), panels.unfold(norm, rows)
    pool = wants.pooled
    by_cell = None  # rows of weights, summed cell by cell
    if pool is not None and pool.reduce != "max":  # serves the pooled map and, summed, the columns
        row_cell, used = _row_cells(panels.problem, rows, pool)
        by_cell = _sum_rows(weights_BHLS, norm_BHL1, row_cell - used.start)
    elif wants.received:
        # a few sums and not one: a product with a single row is slower than one with sixteen
        by_cell = _sum_rows(weights_BHLS, norm_BHL1, torch.arange(weights_BHLS.shape[-2]) // 16)
    for piece in pieces:
        cols, inside = piece.span.cols, slice(piece.begin, piece.end)
        bad = None if poison is None else poison[..., inside]
        if wants.received:
            assert result.received is not None and by_cell is not None
            received = result.received[panels.batch, panels.heads, cols]
            received += by_cell[..., inside].sum(-2)
            if bad is not None:
                received.masked_fill_(bad.any(-2), torch.nan)
        if pool is not None:
            source = weights_BHLS if pool.reduce == "max" else by_cell
            assert source is not None
            part = source[..., inside]
            _store_pooled(panels, rows, cols, part, norm_BHL1, bad, pool, result)


def _sum_rows(weights: Tensor, norm: Tensor, cell: Tensor) -> Tensor:
    """Sums of rows, each times its norm, by cell `[B, H, cells, S]`: one matrix product."""
    member = torch.arange(int(cell[-1]) + 1)[:, None] == cell
    return (member.to(norm.device) * norm.transpose(-2, -1)) @ weights


def _store_pooled(
    panels: Panels,
    rows: slice,
    cols: slice,
    part: Tensor,
    norm_BHL1: Tensor,
    bad: Tensor | None,
    pool: Pooling,
    result: Statistics,
) -> None:
    """Pool one span: rows of cells (sum, mean) or unnormalised weights (max) come in as `part`."""
    kv_len, count = panels.problem.shape[3], pool.shape(panels.problem.shape)[1]
    row_cell, used = _row_cells(panels.problem, rows, pool)
    col_cell = cells(kv_len, count, cols.start, cols.stop).to(part.device)
    size = (used.stop - used.start, count)
    assert result.pooled is not None
    target = result.pooled[panels.batch, panels.heads, used]
    if pool.reduce == "max":
        part = _pool_columns(part, col_cell, count, kv_len, "amax") * norm_BHL1
        part = pool_dense(part, row_cell - used.start, torch.arange(count), size, "max")
        target.copy_(torch.maximum(target, part))
    else:
        target += _pool_columns(part, col_cell, count, kv_len, "sum")
    if bad is not None:
        hit = pool_dense(bad.to(part.dtype), row_cell - used.start, col_cell, size, "max") > 0
        target.masked_fill_(hit, torch.nan)


def _row_cells(problem: Problem, rows: slice, pool: Pooling) -> tuple[Tensor, slice]:
    """The cell of each row of a block, and the range of cells that the block touches."""
    row_cell = cells(problem.shape[2], pool.shape(problem.shape)[0], rows.start, rows.stop)
    return row_cell, slice(int(row_cell[0]), int(row_cell[-1]) + 1)


def _pool_columns(values: Tensor, col_cell: Tensor, count: int, kv_len: int, kind: str) -> Tensor:
    """Reduce the last axis into cells; by a view where the cells are all equally wide."""
    width = kv_len // count
    first, start = int(col_cell[0]), int((col_cell == col_cell[0]).sum())
    even = kv_len % count == 0 and values.shape[-1] % width == 0 and start == width
    if not even:
        index = col_cell.expand(values.shape)
        empty = values.new_zeros(*values.shape[:-1], count)
        return empty.scatter_reduce(-1, index, values, kind)
    grouped = values.reshape(*values.shape[:-1], -1, width)
    reduced = grouped.amax(-1) if kind == "amax" else grouped.sum(-1)
    return torch.nn.functional.pad(reduced, (first, count - first - reduced.shape[-1]))


def _output(panels: Panels, rows: slice, pieces: list[Piece], weights: Tensor) -> Tensor:
    problem = panels.problem
    total = None
    for piece in pieces:
        part = weights[..., piece.begin : piece.end]
        if problem.dropout_p > 0:
            part = part.clone()
            drop_(panels.unfold(part, rows), problem, panels.tile(rows, piece.span.cols))
        product = torch.bmm(part, panels.value_NSD[:, piece.span.cols])
        total = product if total is None else total + product
    assert total is not None
    return total
