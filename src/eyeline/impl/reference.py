"""The equation, on one page: the oracle that every other implementation must equal.

    weights = softmax(softcap(scale * Q K^T) + bias, where the mask allows)
    output  = weights V

It holds all of the weights, O(q_len · kv_len), and computes in the precision of its inputs (half
precision in float32): give it float64 to judge others.

Legend: B batch, H query heads, L queries, S keys, D head width, V value width.

References:
    Vaswani et al. 2017, equation 1, arXiv:1706.03762. Soft-cap: Gemma Team 2024, section 2,
    arXiv:2408.00118. Sinks: OpenAI 2025, gpt-oss model card, section 2.2, arXiv:2508.10925.
"""

import torch
from torch import Tensor

from eyeline.impl import _scores, _windows
from eyeline.impl._dropout import drop_
from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import (
    Normalizer,
    RowNumbers,
    Statistics,
    TopK,
    Wants,
    cells,
    pool_dense,
)


def unsupported(problem: Problem, wants: Wants | None = None) -> str | None:
    """Why this implementation cannot do the problem: it always can."""
    return None


def attend(problem: Problem) -> tuple[Tensor, Normalizer]:
    """Output `[B, H, L, V]` and the rows' maxima and sums; differentiable to any order."""
    weights_BHLS, normalizer = weights(problem)
    clean, _ = find_hazards(problem)
    if problem.dropout_p > 0:
        weights_BHLS = drop_(weights_BHLS.clone(), problem, problem.whole())
    value_BHSV = clean.value.repeat_interleave(problem.group, 1).to(weights_BHLS.dtype)
    output_BHLV = weights_BHLS @ value_BHSV
    # not a multiplication: a NaN gradient that comes into a row that saw nothing must end here
    output_BHLV = output_BHLV.masked_fill((normalizer.total == 0)[..., None], 0)
    return output_BHLV.to(problem.query.dtype), normalizer


def rows(problem: Problem) -> RowNumbers:
    """Log-sum-exp and entropy of each row `[B, H, L]`; differentiable to any order."""
    scores_BHLS, live = _masked_scores(problem, use_value=False)
    weights_BHLS, _ = _softmax(problem, scores_BHLS, live)
    seen = live.any(-1)
    every = scores_BHLS
    if problem.sinks is not None:
        every = torch.cat([every, _sink_column(problem, scores_BHLS)], -1)
    # `where` before the logarithm keeps the gradient of a row that sees nothing at 0
    logsumexp_BHL = torch.logsumexp(every.where(seen[..., None], 0), -1)
    logs_BHLS = (scores_BHLS - logsumexp_BHL[..., None]).where(live, 0)
    entropy_BHL = -(weights_BHLS * logs_BHLS).sum(-1)
    return RowNumbers(logsumexp_BHL.masked_fill(~seen, -torch.inf), entropy_BHL)


def weights(problem: Problem, *, use_value: bool = True) -> tuple[Tensor, Normalizer]:
    """The weights `[B, H, L, S]`, and the maximum and sum `[B, H, L]` that made them."""
    return _softmax(problem, *_masked_scores(problem, use_value=use_value))


def _masked_scores(problem: Problem, *, use_value: bool) -> tuple[Tensor, Tensor]:
    """What softmax sees `[B, H, L, S]`, minus infinity where masked; and which cells are live."""
    clean, hazards = find_hazards(problem, use_value=use_value)
    dtype, tile = problem.compute_dtype, problem.whole()
    query_BHLD = clean.query.to(dtype)
    key_BHSD = clean.key.to(dtype).repeat_interleave(problem.group, 1)

    scores_BHLS = problem.scale * query_BHLD @ key_BHSD.transpose(-2, -1)
    mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
    live = _scores.live_cells(problem, tile, mask)
    if hazards is not None:  # added, not filled in: the gradients of these rows must be NaN too
        bad = hazards.bad_cells(tile, live, scores_BHLS)
        scores_BHLS = scores_BHLS + torch.zeros_like(scores_BHLS).masked_fill(bad, torch.nan)
    if problem.softcap is not None:
        scores_BHLS = problem.softcap * torch.tanh(scores_BHLS / problem.softcap)
    if problem.biases:
        scores_BHLS = scores_BHLS + _scores.bias_tile(problem, tile)
    return scores_BHLS.masked_fill(~live, -torch.inf), live


def _softmax(problem: Problem, scores_BHLS: Tensor, live: Tensor) -> tuple[Tensor, Normalizer]:
    if problem.sinks is None:
        extended = scores_BHLS
    else:  # a sink is a key without a value: it takes weight and gives nothing
        extended = torch.cat([scores_BHLS, _sink_column(problem, scores_BHLS)], -1)
    seen = live.any(-1, keepdim=True)
    # a row that sees nothing gets weights 0; `where` before softmax keeps NaN out of its gradient
    softmax = torch.softmax(extended.where(seen, 0), -1)[..., : live.shape[-1]].where(live, 0)
    return softmax, _normalizer(extended.detach().where(seen, -torch.inf))


def _sink_column(problem: Problem, scores_BHLS: Tensor) -> Tensor:
    assert problem.sinks is not None
    sink = problem.sinks.to(scores_BHLS.dtype)[:, None, None]
    return sink.expand(*scores_BHLS.shape[:3], 1)


def _normalizer(scores_BHLS: Tensor) -> Normalizer:
    if scores_BHLS.shape[-1] == 0:
        nothing = scores_BHLS.new_zeros(scores_BHLS.shape[:-1])
        return Normalizer(nothing - torch.inf, nothing)
    maximum_BHL = scores_BHLS.amax(-1)
    finite = maximum_BHL.masked_fill(maximum_BHL == -torch.inf, 0)[..., None]
    return Normalizer(maximum_BHL, torch.exp(scores_BHLS - finite).sum(-1))


stream, pixels = _windows.stream, _windows.pixels


def measure(problem: Problem, wants: Wants) -> Statistics:
    """Every statistic from the full weights, each by its definition."""
    scores_BHLS, live = (t.detach() for t in _masked_scores(problem, use_value=wants.output))
    weights_BHLS, normalizer = _softmax(problem.detached(), scores_BHLS, live)
    result = Statistics(normalizer)
    if wants.output:
        result.output = attend(problem)[0].detach()
    if wants.top_k:
        result.top_k = _top_k(scores_BHLS, weights_BHLS, live, wants.top_k)
    if wants.entropy:
        result.entropy = torch.special.entr(weights_BHLS).sum(-1)
    if wants.received:
        result.received = weights_BHLS.sum(-2)
    if wants.pooled is not None:
        rows, cols = wants.pooled.shape(problem.shape)
        result.pooled = pool_dense(
            weights_BHLS,
            cells(problem.shape[2], rows),
            cells(problem.shape[3], cols),
            (rows, cols),
            wants.pooled.reduce,
        )
    return result


def _top_k(scores_BHLS: Tensor, weights_BHLS: Tensor, live: Tensor, k: int) -> TopK:
    """Ranked by score: far down, different scores have the same weight of 0."""
    indices = torch.sort(scores_BHLS, dim=-1, descending=True, stable=True).indices[..., :k]
    values = weights_BHLS.gather(-1, indices)
    # a live cell may hold any score, so that only the mask can say which cells are live
    none = ~live.gather(-1, indices) | weights_BHLS.isnan().any(-1, keepdim=True)
    return TopK(values, indices.masked_fill(none, -1))
