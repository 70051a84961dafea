"""The k largest scores of each row, exactly, ties to the lower index.

A full `torch.topk` over thousands of columns costs more than the attention itself. Columns are
dealt into strided groups first: only the k groups with the largest maxima can hold the k largest
values, and k groups are few columns.
"""

import torch
from torch import Tensor

_GROUPS = 64


def top_k_scores(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and column indices, `[..., k']` with `k' = min(k, columns)`, largest first."""
    columns = scores.shape[-1]
    k = min(k, columns)
    groups = max(_GROUPS, 4 * k)
    if columns <= 4 * groups or k == 0:
        values, indices = torch.sort(scores, dim=-1, descending=True, stable=True)
        return values[..., :k], indices[..., :k]
    whole = columns - columns % groups
    members = whole // groups
    maxima = scores[..., :whole].unflatten(-1, (members, groups)).amax(-2)
    tops, chosen = maxima.topk(k + 1, dim=-1)
    column = chosen[..., :k, None] + torch.arange(0, whole, groups, device=scores.device)
    column = column.flatten(-2)
    found = scores.gather(-1, column)
    if whole < columns:
        rest = torch.arange(whole, columns, device=scores.device).expand(*scores.shape[:-1], -1)
        column = torch.cat([column, rest], -1)
        found = torch.cat([found, scores[..., whole:]], -1)
    values, position = found.topk(k, dim=-1)
    indices = column.gather(-1, position)
    # A tie inside the chosen columns, or with a group left out, may have gone to a higher index.
    kth = values[..., -1:]
    tied = (found == kth).sum(-1, keepdim=True) > (values == kth).sum(-1, keepdim=True)
    tied |= tops[..., -1:] == kth
    tied &= kth > -torch.inf
    equal = (values[..., 1:] == values[..., :-1]) & (values[..., 1:] > -torch.inf)
    tied |= equal.any(-1, keepdim=True)
    rows = tied.squeeze(-1).nonzero(as_tuple=True)
    if rows[0].numel():
        indices[rows] = _settle_ties(scores[rows], values[rows])
    return values, indices


def _settle_ties(scores: Tensor, values: Tensor) -> Tensor:
    """Columns of the known values, each the lowest one not yet taken; `[rows, k]`."""
    scores = scores.clone()
    indices = torch.empty(values.shape, dtype=torch.int64, device=scores.device)
    for rank in range(values.shape[-1]):
        # argmax of booleans is the first True: the lowest index that holds the value
        hit = (scores == values[:, rank : rank + 1]).to(torch.uint8).argmax(-1, keepdim=True)
        indices[:, rank : rank + 1] = hit
        scores.scatter_(-1, hit, torch.nan)
    return indices
