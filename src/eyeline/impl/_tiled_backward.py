"""Gradients of tiled attention: each panel is recomputed from logsumexp, none is kept.

With P the weights, dO the gradient of the output and D = rowsum(dO * O):

    dV = P^T dO        dP = dO V^T        dS = P * (dP - D)        dbias = dS
    dQ = scale * dS' K        dK = scale * dS'^T Q        with dS' = dS through the soft-cap
    dsink[h] = -sum over rows of p_sink * D

References:
    Dao et al. 2022, appendix B.2 and B.4, arXiv:2205.14135.
"""

from dataclasses import replace

import torch
from torch import Tensor

from eyeline.impl import _scores
from eyeline.impl._dropout import drop_, keep_tile
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._tiling import (
    PANEL_NUMBERS,
    Panels,
    Span,
    chunks,
    live_spans,
    row_blocks,
    rows_per_block,
)


class Backward(torch.autograd.Function):
    """The backward pass as a function of its own, so that it can be differentiated once more."""

    @staticmethod
    def forward(ctx, problem: Problem, output, logsumexp, output_gradient, *tensors):
        ctx.problem = problem
        ctx.save_for_backward(output_gradient, *tensors)
        return _backward(problem.with_tensors(tensors), output, logsumexp, output_gradient)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *cotangents):
        output_gradient, *tensors = ctx.saved_tensors
        gradients = _double_backward(
            ctx.problem.with_tensors(tuple(tensors)), output_gradient, cotangents
        )
        return None, None, None, *gradients


def _backward(
    problem: Problem, output: Tensor, logsumexp: Tensor, output_gradient: Tensor
) -> tuple[Tensor, ...]:
    """Gradients in the order of `problem.differentiable`."""
    tensors = problem.differentiable
    sums = [torch.zeros_like(t, dtype=problem.compute_dtype) for t in tensors]
    clean, hazards = find_hazards(problem, output_gradient)
    if min(problem.shape) == 0:
        return tuple(torch.zeros_like(t) for t in tensors)
    rows_each = rows_per_block(clean)
    scratch: dict[str, Tensor] = {}
    for batch_chunk, head_chunk in chunks(clean, rows_each):
        panels = Panels(clean, hazards, batch_chunk, head_chunk, scratch)
        widest = max(PANEL_NUMBERS // (rows_each * panels.key_NSD.shape[0]), 1024)
        chunk = _ChunkGradients(panels, sums)
        for rows in row_blocks(clean, rows_each):
            chunk.add_block(rows, output, logsumexp, output_gradient, widest)
        chunk.store()
    return tuple(s.to(t.dtype) for s, t in zip(sums, tensors, strict=True))


class _ChunkGradients:
    """Sums of one chunk of heads, in the computing dtype whatever the tensors' own."""

    def __init__(self, panels: Panels, sums: list[Tensor]) -> None:
        self.panels = panels
        self.query_sum, self.key_sum, self.value_sum, *self.rest = sums
        self.key_NSD = torch.zeros_like(panels.key_NSD)
        self.value_NSD = torch.zeros_like(panels.value_NSD)

    def add_block(
        self, rows: slice, output: Tensor, logsumexp: Tensor, output_gradient: Tensor, widest: int
    ) -> None:
        panels, problem = self.panels, self.panels.problem
        query_NMD = panels.fold(problem.query, rows) * problem.scale
        lse = panels.fold(logsumexp[..., None], rows)
        dead = lse == -torch.inf
        grad_NMV = panels.fold(output_gradient, rows).masked_fill(dead, 0)
        bad_row = torch.isnan(lse) | ~torch.isfinite(grad_NMV).all(-1, keepdim=True)
        if panels.hazards is not None:
            grad_NMV = grad_NMV.masked_fill(bad_row, 0)
            lse = lse.masked_fill(bad_row, 0)
        delta = (grad_NMV * panels.fold(output, rows).masked_fill(dead | bad_row, 0)).sum(-1, True)
        query_grad = torch.zeros_like(query_NMD)
        for span in live_spans(problem, panels.tile(rows, slice(0, problem.shape[3])), widest):
            grad_scores = self._span(query_NMD, rows, span, lse, delta, grad_NMV, bad_row)
            query_grad.baddbmm_(grad_scores, panels.key_NSD[:, span.cols])
            self.key_NSD[:, span.cols].baddbmm_(grad_scores.transpose(1, 2), query_NMD)
        here = (panels.batch, panels.heads, rows)
        self.query_sum[here] = panels.unfold(query_grad.mul_(problem.scale), rows)
        if problem.sinks is not None:
            p_sink = torch.exp(panels.sink_column(rows) - lse).masked_fill(dead, 0)
            sink_share = (-p_sink * delta).masked_fill(bad_row & ~dead, torch.nan)
            self.rest[-1][panels.heads] += panels.unfold(sink_share, rows).sum((0, 2, 3))

    def _span(
        self,
        query_NMD: Tensor,
        rows: slice,
        span: Span,
        lse: Tensor,
        delta: Tensor,
        grad_NMV: Tensor,
        bad_row: Tensor,
    ) -> Tensor:
        """Adds to dV and the biases; returns dS of `scale * q·k`, `[N, M, S]`."""
        panels, problem = self.panels, self.panels.problem
        tile = panels.tile(rows, span.cols)
        scores = panels.scores(query_NMD, rows, span)
        finite_lse = lse.masked_fill(lse == -torch.inf, 0)
        weights = scores.panel_NMS.sub_(finite_lse).exp_()
        value_NVS = panels.value_NSD[:, span.cols].transpose(1, 2)
        grad_weights = torch.bmm(grad_NMV, value_NVS, out=panels.buffer("grad", *weights.shape))
        applied = weights
        if problem.dropout_p > 0:
            drop_(panels.unfold(grad_weights, rows), problem, tile)
            applied = drop_(panels.unfold(weights.clone(), rows), problem, tile)
            applied = applied.view(weights.shape)
        poison = None
        if scores.live is not None:
            poison = (scores.live & panels.unfold(bad_row, rows)).view(weights.shape)
            applied = applied.masked_fill(poison, torch.nan)
        self.value_NSD[:, span.cols].baddbmm_(applied.transpose(1, 2), grad_NMV)
        grad_scores = grad_weights.sub_(delta).mul_(weights)
        if poison is not None:
            dead_cell = ~scores.live.view(weights.shape)  # type: ignore[union-attr]
            grad_scores.masked_fill_(dead_cell, 0).masked_fill_(poison, torch.nan)
        for bias, gradient in zip(problem.biases, self.rest, strict=False):
            bias.collect(gradient, panels.unfold(grad_scores, rows), tile)
        if problem.softcap is not None:
            grad_scores.mul_(_softcap_slope(panels, query_NMD, rows, span))
        return grad_scores

    def store(self) -> None:
        """Hand the chunk's key and value sums over: no other chunk touches these heads."""
        panels = self.panels
        here = (panels.batch, panels.kv_heads)
        self.key_sum[here] = self.key_NSD.view(self.key_sum[here].shape)
        self.value_sum[here] = self.value_NSD.view(self.value_sum[here].shape)


def _softcap_slope(panels: Panels, query_NMD: Tensor, rows: slice, span: Span) -> Tensor:
    """The slope of soft-capping, 1 - tanh(s / softcap)^2, from the raw scores once more."""
    key_NDS = panels.key_NSD[:, span.cols].transpose(1, 2)
    shape = (*query_NMD.shape[:2], key_NDS.shape[-1])
    raw = torch.bmm(query_NMD, key_NDS, out=panels.buffer("slope", *shape))
    assert panels.problem.softcap is not None
    return raw.div_(panels.problem.softcap).tanh_().square_().neg_().add_(1)


def _double_backward(
    problem: Problem, output_gradient: Tensor, cotangents: tuple[Tensor | None, ...]
) -> tuple[Tensor, ...]:
    """Differentiate the gradients block by block with autograd; linear memory, once.

    Returns:
        Gradients of (output_gradient, *problem.differentiable).
    """
    tensors = problem.differentiable
    cotangents = tuple(
        torch.zeros_like(t) if c is None else c for t, c in zip(tensors, cotangents, strict=True)
    )
    sums = [torch.zeros_like(t) for t in (output_gradient, *tensors)]
    for rows in row_blocks(problem, max(rows_per_block(problem) // 2, 1)):
        first = [t.detach().requires_grad_() for t in (output_gradient[:, :, rows], *tensors)]
        with torch.enable_grad():
            block = _rows_of(problem.with_tensors(tuple(first[1:])), rows)
            out = _plain_rows(block, rows)
            gradients = torch.autograd.grad(
                out, first[1:], first[0], create_graph=True, materialize_grads=True
            )
            seconds = torch.autograd.grad(
                gradients, first, cotangents, allow_unused=True, materialize_grads=True
            )
        sums[0][:, :, rows] += seconds[0]
        for total, part in zip(sums[1:], seconds[1:], strict=True):
            total += part
    return tuple(sums)


def _rows_of(problem: Problem, rows: slice) -> Problem:
    return replace(problem, query=problem.query[:, :, rows])


def _plain_rows(problem: Problem, rows: slice) -> Tensor:
    """Attention of a block of rows in plain differentiable torch (ordinary inputs only)."""
    batch, heads, _, kv_len = problem.shape
    tile = problem.whole()._replace(rows=rows)
    dtype, group = problem.compute_dtype, problem.group
    key = problem.key.repeat_interleave(group, 1).to(dtype)
    value = problem.value.repeat_interleave(group, 1).to(dtype)
    scores = problem.scale * problem.query.to(dtype) @ key.transpose(-2, -1)
    if problem.softcap is not None:
        scores = problem.softcap * torch.tanh(scores / problem.softcap)
    if problem.biases:
        scores = scores + _scores.bias_tile(problem, tile)
    mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
    live = _scores.live_cells(problem, tile, mask)
    scores = scores.where(live, -torch.inf)
    if problem.sinks is not None:
        sink = problem.sinks.to(dtype)[None, :, None, None]
        scores = torch.cat([scores, sink.expand(batch, heads, scores.shape[2], 1)], -1)
    seen = live.any(-1, keepdim=True)
    weights = torch.softmax(scores.where(seen, 0), -1)[..., :kv_len]
    weights = weights.where(live, 0)
    if problem.dropout_p > 0:
        keep = keep_tile(problem.dropout_seed, problem.dropout_p, tile, weights.device)
        share = 1 - problem.dropout_p
        weights = weights * keep * (1 / share if share > 0 else 0.0)
    return (weights @ value).to(problem.query.dtype)
