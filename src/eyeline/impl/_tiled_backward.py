"""Gradients of tiled attention: each panel of weights is computed once more, none is kept.

With P the weights, dO the gradient of the output and D = rowsum(P * dP):

    dV = P^T dO        dP = dO V^T        dS = P * (dP - D)        dbias = dS
    dQ = scale * dS' K        dK = scale * dS'^T Q        with dS' = dS through the soft-cap
    dsink[h] = -sum over rows of p_sink * D

The panel holds E = P l with l the sum of the row: dO is divided by l instead, so that no pass over
the panel is needed for it.

References:
    Dao et al. 2022, appendix B.2 and B.4, arXiv:2205.14135. Differs: D = rowsum(dO * O) there. The
    two are equal on paper, but only D made of the same dP makes dP - D exactly 0 in a row with one
    live key, and half precision would take O rounded.
"""

from dataclasses import replace

import torch
from torch import Tensor

from eyeline.impl import _scores
from eyeline.impl._complete import CompletePanel, complete_panel
from eyeline.impl._dropout import drop_, keep_tile, kept_scale
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import RowGradients
from eyeline.impl._strips import add_row_slopes_, exponentiate_, softmax_gradient_
from eyeline.impl._tiling import Panels, chunks, row_blocks, rows_per_block


class Backward(torch.autograd.Function):
    """The backward pass as a function of its own, so that it can be differentiated once more."""

    @staticmethod
    def forward(ctx, problem: Problem, output_gradient, *tensors):
        ctx.problem = problem
        ctx.save_for_backward(output_gradient, *tensors)
        return backward(problem.with_tensors(tensors), output_gradient)

    @staticmethod
    def backward(ctx, *cotangents):
        saved = ctx.saved_tensors
        return None, *Second.apply(ctx.problem, len(cotangents), *cotangents, *saved)


class RowsBackward(torch.autograd.Function):
    """Gradients of log-sum-exp and entropy; they cannot be differentiated again."""

    @staticmethod
    def forward(ctx, problem: Problem, *tensors: Tensor):
        numbers, inputs = RowGradients(*tensors[:3]), tensors[3:]
        problem = problem.with_tensors(inputs)
        return backward(problem, problem.query[..., :0], numbers)

    @staticmethod
    def backward(ctx, *_cotangents):
        raise RuntimeError(
            "logsumexp and entropy can be differentiated once: "
            "use impl='reference', which can be differentiated to any order"
        )


class Second(torch.autograd.Function):
    """Derivatives of the gradients. There is no third: `once_differentiable` would not tell."""

    @staticmethod
    def forward(ctx, problem: Problem, count: int, *tensors):
        cotangents, (output_gradient, *inputs) = tensors[:count], tensors[count:]
        return double_backward(problem.with_tensors(tuple(inputs)), output_gradient, cotangents)

    @staticmethod
    def backward(ctx, *_cotangents):
        raise RuntimeError(
            "tiled attention can be differentiated twice, not three times: "
            "use impl='reference', which can be differentiated to any order"
        )


def backward(
    problem: Problem, output_gradient: Tensor, numbers: RowGradients | None = None
) -> tuple[Tensor, ...]:
    """Gradients in the order of `problem.differentiable`.

    Args:
        problem: The attention call.
        output_gradient: That of its output.
        numbers: Those of each row's own numbers; they join in.
    """
    tensors = problem.differentiable
    sums = [torch.zeros_like(t, dtype=problem.compute_dtype) for t in tensors]
    clean, hazards = find_hazards(problem, output_gradient)
    if min(problem.shape) == 0:
        return tuple(torch.zeros_like(t) for t in tensors)
    rows_each = rows_per_block(clean, least=16)
    scratch: dict[str, Tensor] = {}
    for batch_chunk, head_chunk in chunks(clean, rows_each):
        panels = Panels(clean, hazards, batch_chunk, head_chunk, scratch)
        chunk = _ChunkGradients(panels, sums)
        for rows in row_blocks(clean, rows_each):
            chunk.add_block(rows, output_gradient, numbers)
        chunk.store()
    return tuple(s.to(t.dtype) for s, t in zip(sums, tensors, strict=True))


class _ChunkGradients:
    """Sums of one chunk of heads, in the computing dtype whatever the tensors' own."""

    def __init__(self, panels: Panels, sums: list[Tensor]) -> None:
        self.panels = panels
        self.query_sum, self.key_sum, self.value_sum, *self.rest = sums
        self.key_NSD = torch.zeros_like(panels.key_NSD)
        self.value_NSD = torch.zeros_like(panels.value_NSD)

    def add_block(self, rows: slice, output_gradient: Tensor, numbers: RowGradients | None) -> None:
        """Add what a block of queries gives to every gradient."""
        panels, problem = self.panels, self.panels.problem
        complete = complete_panel(panels, rows)
        if complete is None:  # rows that see nothing: their gradients are 0
            return
        sums = exponentiate_(complete.panel_NMS)
        dead = sums.top == -torch.inf
        top, total, share = panels.join_sink(rows, sums.top, sums.total)
        grad_NMV = panels.fold(output_gradient, rows)
        bad_row = complete.bad_row
        if panels.hazards is not None:
            bad_row = bad_row | ~torch.isfinite(grad_NMV).all(-1, keepdim=True) & ~dead
        weights = complete.panel_NMS  # exp(score - sums.top), to be multiplied by norm
        norm = (share / total).masked_fill(dead, 0)
        if problem.sinks is not None:  # their gradient needs D itself: divide the weights, not dO
            weights.mul_(norm)
            norm = torch.ones_like(norm)
        grad_NMV = (grad_NMV * norm).masked_fill(dead | bad_row, 0)

        grad_weights = self._through_values(rows, complete, grad_NMV, bad_row)
        delta = softmax_gradient_(grad_weights, weights, norm)
        sink = torch.zeros_like(total)  # the weight of the sink
        if problem.sinks is not None:
            sink = torch.exp(panels.sink_column(rows) - top.masked_fill(dead, 0)) / total
            sink = sink.masked_fill(dead, 0)
        if numbers is not None:
            folded = (panels.fold(t[..., None], rows) for t in numbers)
            lse, slope, entropy = (t.masked_fill(dead | bad_row, 0) for t in folded)
            add_row_slopes_(grad_weights, weights, norm, lse - slope * (entropy + sink), slope)
            delta = delta - (lse + slope * (1 - sink - entropy))
        if complete.live is not None:
            poison = complete.live & panels.unfold(bad_row, rows)
            grad_weights.masked_fill_(poison.view(grad_weights.shape), torch.nan)
        self._to_inputs(rows, complete, grad_weights)
        if problem.sinks is not None:
            sink_share = (-sink * delta).masked_fill(dead, 0).masked_fill(bad_row, torch.nan)
            self.rest[-1][panels.heads] += panels.unfold(sink_share, rows).sum((0, 2, 3))

    def _through_values(
        self, rows: slice, complete: CompletePanel, grad_NMV: Tensor, bad_row: Tensor
    ) -> Tensor:
        """Adds to dV; returns dP, `[N, M, S]`."""
        panels, problem = self.panels, self.panels.problem
        weights = complete.panel_NMS
        grad_weights = panels.buffer("grad", *weights.shape)
        for piece in complete.pieces:
            value_NVS = panels.value_NSD[:, piece.span.cols].transpose(1, 2)
            columns = slice(piece.begin, piece.end)
            if len(complete.pieces) == 1:
                torch.bmm(grad_NMV, value_NVS, out=grad_weights)
            else:
                grad_weights[..., columns] = torch.bmm(grad_NMV, value_NVS)
            applied = weights[..., columns]
            if problem.dropout_p > 0:
                tile = panels.tile(rows, piece.span.cols)
                drop_(panels.unfold(grad_weights, rows)[..., columns], problem, tile)
                dropped = drop_(panels.unfold(weights, rows)[..., columns].clone(), problem, tile)
                applied = dropped.view(applied.shape)
            if complete.live is not None:
                live = complete.live[..., columns]
                poison = (live & panels.unfold(bad_row, rows)).view(applied.shape)
                applied = applied.masked_fill(poison, torch.nan)
            _add_over_rows(self.value_NSD[:, piece.span.cols], applied, grad_NMV)
        if complete.live is not None:  # overflow where nobody looks must not reach the row's sum
            grad_weights.masked_fill_(~complete.live.view(grad_weights.shape), 0)
        return grad_weights

    def _to_inputs(self, rows: slice, complete: CompletePanel, grad_scores: Tensor) -> None:
        """Adds to dbias, dQ and dK, from the gradient of what softmax sees."""
        panels, problem = self.panels, self.panels.problem
        query_NMD = complete.query_NMD
        query_grad = torch.zeros_like(query_NMD)
        for piece in complete.pieces:
            cols, part = piece.span.cols, grad_scores[..., piece.begin : piece.end]
            for bias, gradient in zip(problem.biases, self.rest, strict=False):
                share = panels.unfold(grad_scores, rows)[..., piece.begin : piece.end]
                bias.collect(gradient, share, panels.tile(rows, cols))
            if problem.softcap is not None:
                part = part * _softcap_slope(panels, query_NMD, cols)
            query_grad.baddbmm_(part, panels.key_NSD[:, cols])
            _add_over_rows(self.key_NSD[:, cols], part, query_NMD)
        here = (panels.batch, panels.heads, rows)
        self.query_sum[here] = panels.unfold(query_grad.mul_(problem.scale), rows)

    def store(self) -> None:
        """Hand the chunk's key and value sums over: no other chunk touches these heads."""
        panels = self.panels
        here = (panels.batch, panels.kv_heads)
        self.key_sum[here] = self.key_NSD.view(self.key_sum[here].shape)
        self.value_sum[here] = self.value_NSD.view(self.value_sum[here].shape)


# A sum of short sums rounds less than one long sum, and MKL does not cut the sums of narrow heads:
# over 1,024 folded queries the gradient of keys was off by 5 times plain torch's error (Zen 4).
_LONGEST_SUM = 128


def _add_over_rows(sum_NSD: Tensor, left_NMS: Tensor, right_NMD: Tensor) -> None:
    """Add left^T right, a sum over the M rows of the block, in short sums.

    Each is a product of its own: `baddbmm_` would go on from the sum so far.
    """
    rows = zip(left_NMS.split(_LONGEST_SUM, 1), right_NMD.split(_LONGEST_SUM, 1), strict=True)
    for left, right in rows:
        sum_NSD += torch.bmm(left.transpose(1, 2), right)


def _softcap_slope(panels: Panels, query_NMD: Tensor, cols: slice) -> Tensor:
    """The slope of soft-capping, 1 - tanh(s / softcap)^2, from the raw scores once more."""
    key_NDS = panels.key_NSD[:, cols].transpose(1, 2)
    shape = (*query_NMD.shape[:2], key_NDS.shape[-1])
    raw = torch.bmm(query_NMD, key_NDS, out=panels.buffer("slope", *shape))
    assert panels.problem.softcap is not None
    return raw.div_(panels.problem.softcap).tanh_().square_().neg_().add_(1)


def double_backward(
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
        weights = weights * keep * kept_scale(problem.dropout_p)
    return (weights @ value).to(problem.query.dtype)
