"""Softmax of a panel, in strips of rows that fit the cores' own caches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eyeline.impl._top_k import top_k_scores

STRIP_NUMBERS = 2**19
"""2 MB in float32: the passes over a strip find it in the caches of two cores."""


@dataclass(frozen=True, eq=False)
class RowSums:
    """What the passes over each row found, each `[..., 1]` or `[..., k]`.

    Attributes:
        top: The maximum score; minus infinity where nothing is live.
        total: Sum of `exp(score - top)`.
        moment: Sum of `exp(t) t` with `t = score - top`, if entropy was asked for.
        best: The largest scores and their columns, if top-k was asked for.
    """

    top: Tensor
    total: Tensor
    moment: Tensor | None
    best: tuple[Tensor, Tensor] | None


def exponentiate_(
    panel: Tensor, *, top_k: int = 0, entropy: bool = False, masked: bool = True
) -> RowSums:
    """Turn scores into `exp(score - row maximum)`, in place.

    Args:
        panel: Scores `[N, M, S]`, contiguous.
        top_k: How many of the largest to find.
        entropy: Whether to collect the moment.
        masked: Whether minus infinity may occur.
    """
    flat = panel.view(-1, panel.shape[-1])
    count, columns = flat.shape
    k = min(top_k, columns)
    # not by strips: finding the largest keeps both cores busy only over the whole panel
    best = top_k_scores(flat, k) if k else None
    tops = flat.amax(-1, keepdim=True) if best is None else best[0][:, :1].clone()
    finite = tops.masked_fill(tops == -torch.inf, 0)
    totals, moments = flat.new_empty(count, 1), flat.new_empty(count, 1)
    each = max(STRIP_NUMBERS // columns, 1)
    scratch = flat.new_empty(min(each, count), columns) if entropy else None
    for start in range(0, count, each):
        rows = slice(start, min(start + each, count))
        strip = flat[rows]
        if scratch is None:
            strip.sub_(finite[rows]).exp_()
        else:
            shifted = torch.sub(strip, finite[rows], out=scratch[: rows.stop - rows.start])
            torch.exp(shifted, out=strip)
            if masked:
                shifted.clamp_(min=-1e4)  # exp(-1e4) is 0, and 0 * -1e4 is 0, not NaN
            torch.sum(shifted.mul_(strip), -1, keepdim=True, out=moments[rows])
        torch.sum(strip, -1, keepdim=True, out=totals[rows])
    shape = panel.shape[:-1]
    return RowSums(
        tops.view(*shape, 1),
        totals.view(*shape, 1),
        moments.view(*shape, 1) if entropy else None,
        None if best is None else (best[0].reshape(*shape, k), best[1].reshape(*shape, k)),
    )


def softmax_gradient_(grad_weights: Tensor, weights: Tensor, norm: Tensor) -> Tensor:
    """Turn the gradient of the weights, dP, into that of the scores, `E (dP - D)`, in place.

    Args:
        grad_weights: dP, `[N, M, S]`, contiguous.
        weights: E, the weights before they are divided by their sum, of the same shape.
        norm: What E must be multiplied by to be the weights, `[N, M, 1]`.

    Returns:
        D, the mean of dP under the weights, `[N, M, 1]`.
    """
    columns = weights.shape[-1]
    grads, flat, norms = grad_weights.view(-1, columns), weights.view(-1, columns), norm.view(-1, 1)
    means = torch.empty_like(norms)
    each = max(STRIP_NUMBERS // columns, 1)
    scratch = flat.new_empty(min(each, flat.shape[0]), columns)
    for start in range(0, flat.shape[0], each):
        rows = slice(start, min(start + each, flat.shape[0]))
        products = torch.mul(flat[rows], grads[rows], out=scratch[: rows.stop - rows.start])
        mean = torch.sum(products, -1, keepdim=True, out=means[rows]).mul_(norms[rows])
        grads[rows].sub_(mean).mul_(flat[rows])
    return means.view(norm.shape)


def add_row_slopes_(
    slopes: Tensor, weights: Tensor, norm: Tensor, first: Tensor, second: Tensor
) -> None:
    """Add `P (first - second log P)`, what numbers of the rows give to the scores; P is `E norm`.

    Args:
        slopes: The scores' gradient so far, `[N, M, S]`; added to in place.
        weights: E, of the same shape.
        norm: As in `softmax_gradient_`, `[N, M, 1]`.
        first: `[N, M, 1]`.
        second: `[N, M, 1]`.
    """
    columns = weights.shape[-1]
    flat, sums = weights.view(-1, columns), slopes.view(-1, columns)
    norms, ones, twos = (t.reshape(-1, 1) for t in (norm, first, second))
    tiny = torch.finfo(weights.dtype).tiny  # 0 log 0 is 0, not NaN
    each = max(STRIP_NUMBERS // columns, 1)
    for start in range(0, flat.shape[0], each):
        rows = slice(start, min(start + each, flat.shape[0]))
        p = flat[rows] * norms[rows]
        sums[rows].add_(p.clamp(min=tiny).log_().mul_(-twos[rows]).add_(ones[rows]).mul_(p))
