"""Online softmax in plain torch: the algorithm that never holds the weights.

    for each block of queries:
        m = -inf, l = 0, acc = 0                     running maximum, sum and weighted values
        for each span of live keys:
            s   = scale * q k^T + bias               one panel, reused
            m'  = max(m, rowmax(s))
            l   = l * exp(m - m') + rowsum(exp(s - m'))
            acc = acc * exp(m - m') + exp(s - m') v
        output = acc / l

Memory is O(n·d), forward and backward; keys that a mask hides from a whole block cost nothing. The
backward pass computes each panel once more (`_tiled_backward`).

References:
    Milakov & Gimelshein 2018, arXiv:1805.02867 (online softmax); Rabe & Staats 2021,
    arXiv:2112.05682; Dao 2023, algorithms 1 and 2, arXiv:2307.08691. Differs: panels as wide as the
    cache allows, so that most rows need no rescaling; full contract for special values.
"""

import torch
from torch import Tensor

from eyeline.impl import _windows
from eyeline.impl._dropout import drop_
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Normalizer, RowGradients, RowNumbers, Statistics, Wants
from eyeline.impl._strips import exponentiate_
from eyeline.impl._tiled_backward import Backward, RowsBackward
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
from eyeline.impl._transforms import FORWARD_MODE, forward_mode, transformed


def unsupported(problem: Problem, wants: Wants | None = None) -> str | None:
    """Why this implementation cannot do the problem: where torch transforms it."""
    if forward_mode(problem.differentiable):
        return f"tiled attention has no {FORWARD_MODE}"
    if transformed(problem.differentiable):
        return "tiled attention cannot be transformed by torch.func (grad, jacrev, vmap, …)"
    return None


def attend(problem: Problem) -> tuple[Tensor, Normalizer]:
    """Output `[B, H, L, D_v]`, and each row's maximum and sum; gradients to every input."""
    tensors = problem.differentiable
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        output, maximum, total = _Attend.apply(problem, *tensors)
        return output, Normalizer(maximum, total)
    return _forward(problem)


def rows(problem: Problem) -> RowNumbers:
    """Log-sum-exp and entropy of each row `[B, H, L]`; gradients to every input but the values."""
    problem = problem.without_values()
    return RowNumbers(*_Rows.apply(problem, *problem.differentiable))


stream, pixels = _windows.stream, _windows.pixels


def measure(problem: Problem, wants: Wants) -> Statistics:
    """Statistics of the weights, and the output if wanted, in one pass over the panels."""
    return _measure(problem, wants)


def _forward(problem: Problem) -> tuple[Tensor, Normalizer]:
    problem, hazards = find_hazards(problem)
    batch, heads, q_len, kv_len = problem.shape
    query = problem.query
    output = query.new_zeros(batch, heads, q_len, problem.value.shape[-1])
    total = query.new_zeros((batch, heads, q_len), dtype=problem.compute_dtype)
    normalizer = Normalizer(total - torch.inf, total)
    if kv_len == 0 or output.numel() + total.numel() == 0:
        return output, normalizer
    rows_each = rows_per_block(problem)
    scratch: dict[str, Tensor] = {}
    for batch_chunk, head_chunk in chunks(problem, rows_each):
        panels = Panels(problem, hazards, batch_chunk, head_chunk, scratch)
        widest = max(PANEL_NUMBERS // (rows_each * panels.key_NSD.shape[0]), 1024)
        for rows in row_blocks(problem, rows_each):
            here = (batch_chunk, head_chunk, rows)
            out, *sums = _block(panels, rows, widest)
            output[here] = panels.unfold(out, rows).to(output.dtype)
            for target, found in zip(normalizer, sums, strict=True):
                target[here] = panels.unfold(found, rows)[..., 0]
    return output, normalizer


def _block(panels: Panels, rows: slice, widest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Output `[N, M, D_v]`, maximum and sum `[N, M, 1]` of one block of queries."""
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
        none = query_NMD.new_zeros(n, m, 1)
        return query_NMD.new_zeros(n, m, panels.value_NSD.shape[-1]), none - torch.inf, none
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
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide by the sum; a sink joins the sum only, a row that saw nothing stays 0 and -inf."""
    dead = top == -torch.inf
    total = total.masked_fill(dead, 0)
    top, total, share = panels.join_sink(rows, top, total)
    output = acc.mul_(share).div_(total.masked_fill(dead, 1))
    if panels.hazards is None:
        return output, top, total
    output = (output / panels.shrink).masked_fill(bad_row, torch.nan)
    return output, top.masked_fill(bad_row, torch.nan), total.masked_fill(bad_row, torch.nan)


class _Attend(torch.autograd.Function):
    """Forward keeps nothing but its inputs: the backward pass makes each panel again."""

    @staticmethod
    def forward(ctx, problem: Problem, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, normalizer = _forward(problem)
        ctx.problem = problem
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(*normalizer)
        return output, normalizer.maximum, normalizer.total

    @staticmethod
    def backward(ctx, output_gradient: Tensor, *_unused: Tensor):
        gradients = Backward.apply(ctx.problem, output_gradient, *ctx.saved_tensors)
        return None, *gradients


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, problem: Problem, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        found = _measure(problem.with_tensors(tensors), Wants(entropy=True))
        assert found.entropy is not None
        ctx.problem = problem
        ctx.save_for_backward(found.entropy, *tensors)
        return found.logsumexp, found.entropy

    @staticmethod
    def backward(ctx, logsumexp_gradient: Tensor, entropy_gradient: Tensor):
        entropy, *tensors = ctx.saved_tensors
        numbers = RowGradients(logsumexp_gradient, entropy_gradient, entropy)
        return None, *RowsBackward.apply(ctx.problem, *numbers, *tensors)
