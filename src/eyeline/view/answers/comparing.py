"""Two readings beside each other: which tokens are the same, which heads changed most."""

from collections.abc import Sequence
from difflib import SequenceMatcher

import torch
from torch import Tensor

from eyeline.maps import AttentionMap
from eyeline.readings import Reading
from eyeline.tokens import Token
from eyeline.view.packets import pack
from eyeline.view.viewed import Viewed

__all__ = ["aligned", "compare"]

_ROWS = 256
"""Queries of a long text that heads are compared on, evenly spread."""


def compare(one: Viewed, other: Viewed, kinds: tuple[str, str]) -> bytes:
    """Pairs of tokens that are the same, and the change of each head that both have.

    A head's change is the mean total variation distance of its rows over the pairs: half the sum of
    |a − b|, what one row would have to move to become the other. What stands at tokens that only
    one text has counts as moved.
    """
    a, b = one.reading, other.reading
    queries = aligned(a.query_tokens(kinds[0]), b.query_tokens(kinds[1]))
    keys = aligned(a.key_tokens(kinds[0]), b.key_tokens(kinds[1]))
    changes = []
    if _comparable(a, b, kinds) and queries and keys:
        rows = queries[:: max(len(queries) // _ROWS, 1)]
        for layer in a.maps(kinds[0]):
            pair = (a.maps(kinds[0])[layer], b.maps(kinds[1])[layer])
            changes.append(_change(pair, rows, keys))
    found = torch.stack(changes).float() if changes else torch.zeros(0, 0)
    return pack(
        {"comparable": bool(changes), "layers": list(a.maps(kinds[0]))},
        {
            "queries": torch.tensor(queries, dtype=torch.int32).reshape(-1, 2),
            "keys": torch.tensor(keys, dtype=torch.int32).reshape(-1, 2),
            "changes": found,
        },
    )


def aligned(one: Sequence[Token], other: Sequence[Token]) -> list[tuple[int, int]]:
    """Pairs of tokens that stand for the same text, in order, whatever case models give it."""
    labels = [[t.label.casefold() for t in side] for side in (one, other)]
    if labels[0] == labels[1]:
        return [(i, i) for i in range(len(one))]
    matcher = SequenceMatcher(a=labels[0], b=labels[1], autojunk=False)
    return [
        (block.a + n, block.b + n)
        for block in matcher.get_matching_blocks()
        for n in range(block.size)
    ]


def _comparable(a: Reading, b: Reading, kinds: tuple[str, str]) -> bool:
    """Whether head by head means something: the same model, the same attention."""
    left, right = a.maps(kinds[0]), b.maps(kinds[1])
    heads = [next(iter(m.values())).shape[1] for m in (left, right)]
    return a.model == b.model and list(left) == list(right) and heads[0] == heads[1]


def _change(
    pair: tuple[AttentionMap, AttentionMap],
    rows: Sequence[tuple[int, int]],
    keys: Sequence[tuple[int, int]],
) -> Tensor:
    left, right = ([k[side] for k in keys] for side in (0, 1))
    total = torch.zeros(pair[0].shape[1], dtype=torch.float64)
    for i, j in rows:
        a, b = pair[0][0, :, i].double(), pair[1][0, :, j].double()
        common = torch.minimum(a[:, left], b[:, right]).sum(-1)
        total += torch.maximum(a.sum(-1), b.sum(-1)) - common
    return total / max(len(rows), 1)
