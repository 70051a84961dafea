"""A judge that shares no code with what it judges.

Attention from its equation, dense, in float64, with masks as plain predicates of (b, h, i, j)
rather than tiles, statistics by their definitions in loops, and gradients by autograd.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Rule = Callable[..., np.ndarray]
"""`rule(b, h, i, j)`: may query i of item b and head h see key j? On numbers or on arrays."""


# --- masks as predicates ---------------------------------------------------------------------


def everything(b, h, i, j):
    return (b == b) & (h == h) & (i == i) & (j == j)


def causal(offset: int = 0) -> Rule:
    return lambda b, h, i, j: (j <= i + offset) & everything(b, h, i, j)


def window(left: int, right: int, offset: int = 0) -> Rule:
    """-1 is unlimited."""

    def rule(b, h, i, j):
        near = everything(b, h, i, j)
        if left >= 0:
            near = near & (i + offset - j <= left)
        if right >= 0:
            near = near & (j - (i + offset) <= right)
        return near

    return rule


def spans(starts: list[int], stops: list[int]) -> Rule:
    """Keys from `starts[b]` up to `stops[b]`; one entry serves every batch item."""
    first, last = np.asarray(starts), np.asarray(stops)

    def rule(b, h, i, j):
        at = b * (len(first) > 1)
        return (first[at] <= j) & (j < last[at]) & everything(b, h, i, j)

    return rule


def kept(keep: np.ndarray) -> Rule:
    return lambda b, h, i, j: keep[b * (len(keep) > 1), j] & everything(b, h, i, j)


def same(ids: np.ndarray, key_ids: np.ndarray) -> Rule:
    def rule(b, h, i, j):
        mine = ids[b * (len(ids) > 1), i]
        return (mine == key_ids[b * (len(key_ids) > 1), j]) & everything(b, h, i, j)

    return rule


def cells_of(allowed: np.ndarray) -> Rule:
    """A 4-D array in which dimensions of size 1 broadcast."""

    def rule(*index):
        at = tuple(n * (size > 1) for n, size in zip(index, allowed.shape, strict=True))
        return allowed[at] & everything(*index)

    return rule


def both(left: Rule, right: Rule) -> Rule:
    return lambda *index: left(*index) & right(*index)


def either(left: Rule, right: Rule) -> Rule:
    return lambda *index: left(*index) | right(*index)


def opposite(rule: Rule) -> Rule:
    return lambda *index: ~rule(*index)


def written_out(rule: Rule | None, shape: tuple[int, ...]) -> Tensor:
    """The rule as a bool tensor `[batch, heads, q_len, kv_len]`."""
    if rule is None:
        return torch.ones(shape, dtype=torch.bool)
    return torch.from_numpy(
        np.broadcast_to(rule(*np.ogrid[tuple(map(slice, shape))]), shape).copy()
    )


# --- biases as matrices ----------------------------------------------------------------------


def alibi(slopes: Tensor, shape: tuple[int, ...], offset: int = 0) -> Tensor:
    i, j = torch.arange(shape[2])[:, None] + offset, torch.arange(shape[3])
    return (-slopes.double()[:, None, None] * (i - j).abs()).expand(shape)


def t5_bucket(distance: int, *, bidirectional: bool, num_buckets: int, max_distance: int) -> int:
    """The bucket of one `key position - query position`, from the paper's released code."""
    first = 0
    if bidirectional:
        num_buckets //= 2
        first = num_buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = num_buckets // 2
    if distance < exact:
        return first + distance
    # float32, as there: the borders of the buckets depend on it
    share = np.log(np.float32(distance) / np.float32(exact)) / np.float32(
        math.log(max_distance / exact)
    )
    return first + min(exact + int(share * np.float32(num_buckets - exact)), num_buckets - 1)


def relative(table: Tensor, shape: tuple[int, ...], *, offset: int = 0, **how) -> Tensor:
    buckets = [
        [t5_bucket(j - i - offset, num_buckets=len(table), **how) for j in range(shape[3])]
        for i in range(shape[2])
    ]
    index = torch.tensor(buckets, dtype=torch.int64).reshape(shape[2], shape[3])
    return table.double()[index].permute(2, 0, 1)[None].expand(shape)


# --- the equation ----------------------------------------------------------------------------


@dataclass
class Answer:
    output: Tensor
    weights: Tensor
    logsumexp: Tensor
    live: Tensor


def solve(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    allowed: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    keep: Tensor | None = None,
    dropout_p: float = 0.0,
) -> Answer:
    """Attention in float64; `[batch, heads, length, width]`, query head h reads `h // group`."""
    q, k, v = (t.double() for t in (query, key, value))
    if q.shape[1] and k.shape[1]:
        group = q.shape[1] // k.shape[1]
        heads = [h // group for h in range(q.shape[1])]
        k, v = k[:, heads], v[:, heads]
    if scale is None:
        scale = q.shape[-1] ** -0.5 if q.shape[-1] else 1.0
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    live = torch.ones_like(scores, dtype=torch.bool) if allowed is None else allowed
    if bias is not None:
        bias = bias.double().expand(scores.shape)
        live = live & (bias != -torch.inf)
        scores = scores + bias.where(live, 0)
    scores = scores.where(live, -torch.inf)
    seen = live.any(-1, keepdim=True)
    column = scores.new_full((*scores.shape[:3], 1), -torch.inf)
    if sinks is not None:
        column = sinks.double()[None, :, None, None].expand(column.shape)
    top = torch.cat([scores, column], -1).detach().amax(-1, keepdim=True).where(seen, 0)
    parts = torch.exp(scores.where(live, 0) - top) * live
    total = (parts.sum(-1, keepdim=True) + torch.exp(column - top)).where(seen, 1)
    weights = parts / total
    applied = weights
    if keep is not None:
        applied = weights * keep / (1 - dropout_p) if dropout_p < 1 else weights * 0
    return Answer(
        torch.einsum("bhij,bhjd->bhid", applied, v),
        weights,
        (top + torch.log(total)).where(seen, -torch.inf)[..., 0],
        live,
    )


def gradients(output: Tensor, inputs: list[Tensor], cotangent: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output, inputs, cotangent.to(output.dtype), allow_unused=True))


def plain(
    query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, bias: Tensor | None = None
) -> Tensor:
    """What one writes in plain torch, in the inputs' own dtype: the yardstick of contract N7."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5)
    if bias is not None:
        scores = scores + bias
        allowed = allowed & (bias != -torch.inf)
    seen = allowed.any(-1, keepdim=True)
    scores = scores.masked_fill(~allowed, -torch.inf).where(seen, 0)
    return (torch.softmax(scores, -1).where(allowed, 0)) @ value


# --- statistics ------------------------------------------------------------------------------


def top_k(weights: Tensor, live: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """By a stable sort of each row's live keys; 0 and -1 where there are fewer than k."""
    k = min(k, weights.shape[-1])
    values = weights.new_zeros(*weights.shape[:-1], k)
    indices = torch.full(values.shape, -1, dtype=torch.int64)
    for at in np.ndindex(*weights.shape[:-1]):
        row, seen = weights[at].tolist(), live[at].tolist()
        best = sorted((j for j in range(len(row)) if seen[j]), key=lambda j: -row[j])[:k]
        for rank, j in enumerate(best):
            values[at][rank], indices[at][rank] = row[j], j
    return values, indices


def entropy(weights: Tensor) -> Tensor:
    logs = torch.log(weights.where(weights > 0, 1))
    return -(weights * logs).sum(-1)


def received(weights: Tensor) -> Tensor:
    return torch.stack([weights[..., j].sum(-1) for j in range(weights.shape[-1])] or [], -1)


def pooled(weights: Tensor, rows: int, cols: int, reduce: str) -> Tensor:
    """Cell (r, c) holds the weights (i, j) with `i * rows // q_len == r` and likewise for j."""
    q_len, kv_len = weights.shape[2:]
    rows, cols = min(rows, max(q_len, 1)), min(cols, max(kv_len, 1))
    result = weights.new_zeros(*weights.shape[:2], rows, cols)
    for r in range(rows):
        for c in range(cols):
            i = [i for i in range(q_len) if i * rows // q_len == r]
            j = [j for j in range(kv_len) if j * cols // kv_len == c]
            if i and j:
                cell = weights[:, :, i][:, :, :, j].flatten(2)
                result[:, :, r, c] = {
                    "sum": cell.sum(-1),
                    "max": cell.amax(-1),
                    "mean": cell.mean(-1),
                }[reduce]
    return result
