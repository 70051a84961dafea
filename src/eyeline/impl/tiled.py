"""Online softmax in plain torch: the algorithm that never holds the weights.

    for each block of queries:
        m = -inf, l = 0, acc = 0                     running maximum, sum and weighted values
        for each span of live keys:
            s   = scale * q k^T + bias               one panel, reused
            m'  = max(m, rowmax(s))
            l   = l * exp(m - m') + rowsum(exp(s - m'))
            acc = acc * exp(m - m') + exp(s - m') v
        output = acc / l,  logsumexp = m + log(l)

Memory is O(n·d), forward and backward; keys that a mask hides from a whole block cost nothing. The
backward pass recomputes each panel from `logsumexp`.

References:
    Milakov & Gimelshein 2018, arXiv:1805.02867 (online softmax); Rabe & Staats 2021,
    arXiv:2112.05682; Dao 2023, algorithms 1 and 2, arXiv:2307.08691. Differs: panels as wide as the
    cache allows, so that most rows need no rescaling; full contract for special values.
"""

import torch
from torch import Tensor

from eyeline.impl import _tiled_backward
from eyeline.impl._dropout import drop_
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Statistics, Wants
from eyeline.impl._strips import exponentiate_
from eyeline.impl._tiled_measure import measure as _measure
from eyeline.impl._tiling import (
    PANEL_NUMBERS,
    Panels,
    Span,
    chunks,
    live_spans,
    row_blocks,
    rows_per_block,
)


def unsupported(problem: Problem) -> str | None:
    """Why this implementation cannot do the problem: it always can."""
    return None


def attend(problem: Problem) -> tuple[Tensor, Tensor]:
    """Output `[B, H, L, D_v]` and logsumexp `[B, H, L]`; gradients to every input."""
    tensors = problem.differentiable
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return _Attend.apply(problem, *tensors)
    return _forward(problem)


def measure(problem: Problem, wants: Wants) -> Statistics:
    """Statistics of the weights, and the output if wanted, in one pass over the panels."""
    return _measure(problem, wants)


def _forward(problem: Problem) -> tuple[Tensor, Tensor]:
    problem, hazards = find_hazards(problem)
    batch, heads, q_len, kv_len = problem.shape
    query = problem.query
    output = query.new_zeros(batch, heads, q_len, problem.value.shape[-1])
    logsumexp = query.new_full((batch, heads, q_len), -torch.inf, dtype=problem.compute_dtype)
    if kv_len == 0 or output.numel() + logsumexp.numel() == 0:
        return output, logsumexp
    rows_each = rows_per_block(problem)
    scratch: dict[str, Tensor] = {}
    for batch_chunk, head_chunk in chunks(problem, rows_each):
        panels = Panels(problem, hazards, batch_chunk, head_chunk, scratch)
        widest = max(PANEL_NUMBERS // (rows_each * panels.key_NSD.shape[0]), 1024)
        for rows in row_blocks(problem, rows_each):
            out, lse = _block(panels, rows, widest)
            output[batch_chunk, head_chunk, rows] = panels.unfold(out, rows).to(output.dtype)
            logsumexp[batch_chunk, head_chunk, rows] = panels.unfold(lse, rows)[..., 0]
    return output, logsumexp


def _block(panels: Panels, rows: slice, widest: int) -> tuple[Tensor, Tensor]:
    """Output `[N, M, D_v]` and logsumexp `[N, M, 1]` of one block of queries."""
    problem = panels.problem
    query_NMD = panels.fold(problem.query, rows) * problem.scale
    n, m, _ = query_NMD.shape
    bad_row = torch.zeros(n, m, 1, dtype=torch.bool, device=query_NMD.device)
    running: tuple[Tensor, Tensor, Tensor] | None = None
    keys = slice(0, problem.shape[3])
    for span in live_spans(problem, panels.tile(rows, keys), widest):
        scores = panels.scores(query_NMD, rows, span)
        if scores.bad is not None:
            bad_row |= scores.bad.any(-1).view(n, m, 1)
        running = _take_in(panels, rows, span, scores.panel_NMS, running)
    if running is None:  # no key is live for any of these rows
        dead = query_NMD.new_full((n, m, 1), -torch.inf)
        return query_NMD.new_zeros(n, m, panels.value_NSD.shape[-1]), dead
    return _finish(panels, rows, *running, bad_row)


def _take_in(
    panels: Panels,
    rows: slice,
    span: Span,
    panel: Tensor,
    running: tuple[Tensor, Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Join a span's scores to the running (maximum, sum, weighted values)."""
    problem = panels.problem
    sums = exponentiate_(panel)
    weights, top, total = panel, sums.top, sums.total
    if problem.dropout_p > 0:
        drop_(panels.unfold(weights, rows), problem, panels.tile(rows, span.cols))
    value = panels.value_NSD[:, span.cols]
    if running is None:
        return top, total, torch.bmm(weights, value)
    old_top, old_total, acc = running
    new_top = torch.maximum(old_top, top)
    finite = new_top.masked_fill(new_top == -torch.inf, 0)  # a row that saw nothing so far
    old_share, share = torch.exp(old_top - finite), torch.exp(top - finite)
    acc.mul_(old_share).add_(torch.bmm(weights, value).mul_(share))
    return new_top, old_total * old_share + total * share, acc


def _finish(
    panels: Panels, rows: slice, top: Tensor, total: Tensor, acc: Tensor, bad_row: Tensor
) -> tuple[Tensor, Tensor]:
    """Divide by the sum; a sink joins the sum only, a row that saw nothing stays 0 and -inf."""
    dead = top == -torch.inf
    if panels.problem.sinks is not None:
        sink = panels.sink_column(rows)
        with_sink = torch.maximum(top, sink)
        shrink = torch.exp(top - with_sink).masked_fill(dead, 0)
        acc = acc * shrink
        total = total * shrink + torch.exp(sink - with_sink)
        top = with_sink
    output = acc / total.masked_fill(dead, 1)
    logsumexp = torch.where(dead, -torch.inf, top + torch.log(total))
    if panels.hazards is not None:
        output = output.masked_fill(bad_row, torch.nan)
        logsumexp = logsumexp.masked_fill(bad_row, torch.nan)
    return output, logsumexp


class _Attend(torch.autograd.Function):
    """Forward keeps the inputs, the output and logsumexp: O(n·d)."""

    @staticmethod
    def forward(ctx, problem: Problem, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        output, logsumexp = _forward(problem)
        ctx.problem = problem
        ctx.save_for_backward(*tensors, output, logsumexp)
        ctx.mark_non_differentiable(logsumexp)
        return output, logsumexp

    @staticmethod
    def backward(ctx, output_gradient: Tensor, _unused: Tensor):
        *tensors, output, logsumexp = ctx.saved_tensors
        gradients = _tiled_backward.Backward.apply(
            ctx.problem, output.detach(), logsumexp, output_gradient, *tensors
        )
        return None, *gradients
