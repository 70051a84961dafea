"""What kind of head is this? A census with evidence, and "unsure" as an answer.

Every score is an average over queries of this one text, so it says what the head does here, not
what it is. A label needs its score, and enough queries to speak of; else it is "unsure".
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from eyeline._plain import plain
from eyeline.impl import _scores
from eyeline.maps import AttentionMap
from eyeline.tokens import Token

__all__ = ["KINDS", "HeadReport", "census"]

KINDS: dict[str, str] = {
    "previous": "mean weight on the token before",
    "next": "mean weight on the token after",
    "self": "mean weight on the token itself",
    "first": "mean weight on the first token, the attention sink",
    "separator": "mean weight on special tokens and punctuation other than the first token",
    "induction": "mean weight on what followed the same token earlier in the text",
    "local": "mean weight within 3 tokens, itself left out",
    "uniform": "entropy as a share of its maximum, over queries that see at least 4 keys",
}
"""Each kind of head and what its score measures.

Averages are over the queries that had the choice: they may see such a key and another one. So a
causal head has no say about the next token, nor a narrow window about being local.
"""

_THRESHOLD = {"induction": 0.4, "uniform": 0.95, "local": 0.8}
_DEFAULT_THRESHOLD = 0.5
_LEAST_QUERIES = 4
"""Fewer queries than this are no evidence."""

_PUNCTUATION = frozenset(".,;:!?…\"'()[]{}-–—/")


@dataclass(frozen=True)
class HeadReport:
    """One head's scores.

    Attributes:
        layer: Number of the layer.
        head: Number of the head.
        label: The kind that stands out, or "unsure".
        scores: Kind → score from 0 to 1; None where the text gives too few queries to say, or where
            the weights are not finite.
        queries: Kind → how many queries the score is an average over.
        entropy: Mean entropy of the rows in nats.
        distance: Mean distance in tokens between a query and what it looks at.
        sampled: How many queries were looked at, where it was not all of them; else None.
    """

    layer: int
    head: int
    label: str
    scores: dict[str, float | None]
    queries: dict[str, int]
    entropy: float
    distance: float = math.nan
    sampled: int | None = None

    @property
    def evidence(self) -> str:
        """The label's score and what it stands on, in words."""
        if self.label != "unsure":
            return f"{self._score(self.label):.2f} on {self.queries[self.label]} queries"
        known = [kind for kind, score in self.scores.items() if score is not None]
        if not math.isfinite(self.entropy):
            return "its weights are not finite"
        if not known:
            return "too few tokens to say"
        best = max(known, key=self._score)
        return f"closest is {best}, {self._score(best):.2f} on {self.queries[best]} queries"

    def _score(self, kind: str) -> float:
        return self.scores[kind] or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "layer": self.layer,
            "head": self.head,
            "label": self.label,
            "evidence": self.evidence,
            "scores": self.scores,
            "queries": self.queries,
            "entropy": plain(self.entropy),
            "distance": plain(self.distance),
            "sampled": self.sampled,
        }


def census(
    attention_map: AttentionMap, layer: int, tokens: Sequence[Token], queries: int | None = None
) -> list[HeadReport]:
    """Score every head of one self-attention layer, in one pass over its weights.

    Args:
        attention_map: The layer's map.
        layer: Its number.
        tokens: The tokens, which are both queries and keys.
        queries: Look at about this many queries only, in 16 blocks spread evenly over the text: a
            long text has too many to look at all of them while somebody waits. None = all.
    """
    blocks = _blocks(len(tokens), queries)
    tally = _count(attention_map, tokens, blocks)
    looked_at = sum(len(block) for block in blocks)
    reports = []
    for head in range(attention_map.shape[1]):
        counts = {kind: int(tally.queries[kind][head]) for kind in KINDS}
        scores: dict[str, float | None] = {}
        for kind in KINDS:
            total = float(tally.sums[kind][head])
            enough = counts[kind] >= _LEAST_QUERIES and math.isfinite(total)
            scores[kind] = total / counts[kind] if enough else None
        entropy, distance = (float(t[head]) / looked_at for t in (tally.entropy, tally.distance))
        sampled = looked_at if looked_at < len(tokens) else None
        label = _label(scores)
        reports.append(HeadReport(layer, head, label, scores, counts, entropy, distance, sampled))
    return reports


def _blocks(length: int, queries: int | None) -> list[range]:
    """Which queries to look at: all, or 16 runs of neighbours whose middles are evenly spread."""
    if queries is None or queries >= length:
        return [range(length)]
    count = min(16, queries)
    each = queries // count
    firsts = [(2 * i + 1) * length // (2 * count) - each // 2 for i in range(count)]
    return [range(first, first + each) for first in firsts]


def _label(scores: dict[str, float | None]) -> str:
    """The most telling kind above its threshold; the specific ones go before the general."""
    order = ("induction", "previous", "next", "self", "first", "separator", "uniform", "local")
    passed = [k for k in order if (scores[k] or 0.0) >= _THRESHOLD.get(k, _DEFAULT_THRESHOLD)]
    if not passed:
        return "unsure"
    specific = [k for k in passed if k not in ("local", "uniform")]
    return max(specific, key=lambda k: scores[k] or 0.0) if specific else passed[0]


@dataclass(frozen=True, eq=False)
class _Tally:
    """Sums over queries, per head.

    Attributes:
        sums: Kind → the weight that it looks for, `[heads]`.
        queries: Kind → how many queries had the choice, `[heads]`.
        entropy: Sum of the rows' entropies, `[heads]`.
        distance: Sum of the rows' mean distances, `[heads]`.
    """

    sums: dict[str, Tensor]
    queries: dict[str, Tensor]
    entropy: Tensor
    distance: Tensor


def _count(attention_map: AttentionMap, tokens: Sequence[Token], blocks: Sequence[range]) -> _Tally:
    problem = attention_map.problem
    length, heads = len(tokens), attention_map.shape[1]
    zeros = torch.zeros(heads, dtype=torch.float64)
    separators, ids = _separators(tokens), torch.tensor([t.id for t in tokens])
    ordinary = ~torch.tensor([t.special for t in tokens])
    tally = _Tally(
        {kind: zeros.clone() for kind in KINDS},
        {kind: torch.zeros(heads, dtype=torch.int64) for kind in KINDS},
        zeros.clone(),
        zeros.clone(),
    )
    column = torch.arange(length)
    whole = problem.whole()
    wanted = (whole._replace(rows=slice(b.start, b.stop)) for b in blocks)
    for tile, weights in itertools.chain.from_iterable(map(attention_map.stream, wanted)):
        row = torch.arange(tile.rows.start, tile.rows.stop)
        mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
        live = _scores.live_cells(problem, tile, mask)[0].cpu()
        part = weights[0].cpu()
        entropy = torch.special.entr(part).sum(-1, dtype=torch.float64)
        keys = live.sum(-1)
        share = (entropy / keys.clamp(min=2).log()).masked_fill(keys < 4, 0)
        tally.sums["uniform"][tile.heads] += share.sum(-1)
        tally.queries["uniform"][tile.heads] += (keys >= 4).sum(-1)
        tally.entropy[tile.heads] += entropy.sum(-1)
        distance = (column - row[:, None]).abs_().to(part.dtype)
        tally.distance[tile.heads] += (part * distance).sum((-1, -2), dtype=torch.float64)

        # what stands right before or at the query itself would be no evidence of looking back
        induction = _follows_same(ids, row) & (column < row[:, None] - 1) & ordinary[row, None]
        near = [_near(row, length, offset) for offset in (-3, -2, -1, 0, 1, 2, 3)]
        first = (torch.zeros_like(row)[:, None], (row > 0)[:, None])
        found = {
            "previous": _at(part, live, [near[2]]),
            "next": _at(part, live, [near[4]]),
            "self": _at(part, live, [near[3]]),
            "first": _at(part, live, [first]),
            "separator": _under(part, live, separators.expand(len(row), -1)),
            "induction": _under(part, live, induction),
            "local": _at(part, live, near[:3] + near[4:]),
        }
        itself = _at(part, live, [near[3]])[1]
        for kind, (looked, own) in found.items():
            others = keys - own - (itself if kind == "local" else 0)
            had_choice = (own > 0) & (others > 0)
            tally.sums[kind][tile.heads] += looked.masked_fill(~had_choice, 0).sum(-1)
            tally.queries[kind][tile.heads] += had_choice.sum(-1)
    return tally


_Places: TypeAlias = tuple[Tensor, Tensor]
"""A key of each row, `[rows, 1]`, and whether there is one."""


def _near(row: Tensor, length: int, offset: int) -> _Places:
    """The key that stands so far behind each query."""
    key = (row + offset)[:, None]
    return key.clamp(0, length - 1), (key >= 0) & (key < length)


def _at(part: Tensor, live: Tensor, places: Sequence[_Places]) -> tuple[Tensor, Tensor]:
    """Each row's weight on some keys, and how many of them it may see."""
    key, there = (torch.cat(side, 1) for side in zip(*places, strict=True))
    seen = live.gather(-1, key.expand(*live.shape[:2], -1)) & there
    weight = part.gather(-1, key.expand(*part.shape[:2], -1))
    return weight.masked_fill(~there, 0).sum(-1, dtype=torch.float64), seen.sum(-1)


def _under(part: Tensor, live: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's weight on the keys that are marked, and how many of them it may see."""
    weight = part.masked_fill(~cells, 0).sum(-1, dtype=torch.float64)
    return weight, (live & cells).sum(-1)


def _follows_same(ids: Tensor, row: Tensor) -> Tensor:
    """Which keys stand right behind an earlier occurrence of the query's token."""
    before = torch.cat([ids.new_tensor([-1]), ids[:-1]])
    return ids[row, None] == before


def _separators(tokens: Sequence[Token]) -> Tensor:
    marks = [
        t.index > 0 and (t.special or (bool(t.label) and set(t.label) <= _PUNCTUATION))
        for t in tokens
    ]
    return torch.tensor(marks, dtype=torch.bool)
