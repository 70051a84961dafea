"""The k largest scores of each row, exactly, ties to the lower index.

A full `torch.topk` over thousands of columns costs more than the attention itself. Columns are cut
into groups first: only the k groups with the largest maxima can hold the k largest values, and k
groups are few columns.
"""

import torch
from torch import Tensor

_MEMBERS = 64


def top_k_scores(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and column indices of each row.

    Args:
        scores: `[..., columns]`, contiguous, without NaN; minus infinity where masked.
        k: How many.

    Returns:
        Two tensors `[..., min(k, columns)]`, largest first. Indices of minus infinity mean nothing.
    """
    columns = scores.shape[-1]
    k = min(k, columns)
    if columns <= 2 * k or k == 0:
        values, indices = torch.sort(scores, dim=-1, descending=True, stable=True)
        return values[..., :k], indices[..., :k]
    flat = scores.view(-1, columns)
    groups = columns // _MEMBERS
    if groups < 2 * (k + 1):
        more, indices = flat.topk(k + 1, dim=-1)
    else:
        found, first_column = _candidates(flat, k + 1, groups)
        more, position = found.topk(k + 1, dim=-1)
        indices = first_column.gather(-1, position // _MEMBERS) + position % _MEMBERS
    values, indices = more[:, :k], indices[:, :k].contiguous()
    # Ties may stand in the wrong order. A tie with a group left out shows here too: the maximum of
    # the (k+1)-th group lies between that group's and the k-th value.
    tied = ((more[:, 1:] == more[:, :-1]) & (more[:, 1:] > -torch.inf)).any(-1)
    rows = tied.nonzero()[:, 0]
    if rows.numel():
        indices[rows] = _settle_ties(flat[rows], values[rows])
    shape = (*scores.shape[:-1], k)
    return values.reshape(shape), indices.view(shape)


def _candidates(scores: Tensor, count: int, groups: int) -> tuple[Tensor, Tensor]:
    """The columns of the `count` best groups, and the columns that do not fill a group.

    Returns:
        Scores `[rows, candidates]`, in groups of `_MEMBERS`; each group's first column
        `[rows, candidates / _MEMBERS]`.
    """
    rows, columns = scores.shape
    whole = groups * _MEMBERS
    grouped = scores[:, :whole].unflatten(-1, (groups, _MEMBERS))
    chosen = grouped.amax(-1).topk(count, dim=-1).indices
    if whole == columns:
        base = torch.arange(0, rows * groups, groups, device=scores.device)[:, None]
        # picking whole groups is a copy of short contiguous runs, unlike gathering columns
        found = grouped.reshape(-1, _MEMBERS).index_select(0, (chosen + base).flatten())
        return found.view(rows, -1), chosen * _MEMBERS
    member = torch.arange(_MEMBERS, device=scores.device)
    column = (chosen[..., None] * _MEMBERS + member).flatten(1)
    found = torch.cat([scores.gather(-1, column), scores[:, whole:]], -1)
    rest = torch.full((rows, 1), whole, device=scores.device)
    return found, torch.cat([chosen * _MEMBERS, rest], -1)


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
