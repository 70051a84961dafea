"""What kind of head is this? A census with evidence, and "unsure" as an answer.

Every score is an average over queries of this one text, so it says what the head does here, not
what it is. A label needs its score, and enough queries to speak of; else it is "unsure".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    """

    layer: int
    head: int
    label: str
    scores: dict[str, float | None]
    queries: dict[str, int]
    entropy: float

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
        }


def census(attention_map: AttentionMap, layer: int, tokens: Sequence[Token]) -> list[HeadReport]:
    """Score every head of one self-attention layer, in one pass over its weights."""
    tally = _count(attention_map, tokens)
    entropy = attention_map.entropy()[0].double().cpu()
    counted = tally.live >= 4
    share = entropy / tally.live.clamp(min=2).log()
    tally.sums["uniform"] = share.masked_fill(~counted, 0).sum(-1)
    tally.queries["uniform"] = counted.sum(-1)
    reports = []
    for head in range(attention_map.shape[1]):
        queries = {kind: int(tally.queries[kind][head]) for kind in KINDS}
        scores: dict[str, float | None] = {}
        for kind in KINDS:
            total = float(tally.sums[kind][head])
            enough = queries[kind] >= _LEAST_QUERIES and math.isfinite(total)
            scores[kind] = total / queries[kind] if enough else None
        mean_entropy = float(entropy[head].mean())
        reports.append(HeadReport(layer, head, _label(scores), scores, queries, mean_entropy))
    return reports


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
        live: How many keys each query may see, `[heads, q_len]`.
    """

    sums: dict[str, Tensor]
    queries: dict[str, Tensor]
    live: Tensor


def _count(attention_map: AttentionMap, tokens: Sequence[Token]) -> _Tally:
    problem = attention_map.problem
    length, heads = len(tokens), attention_map.shape[1]
    separators, ids = _separators(tokens), torch.tensor([t.id for t in tokens])
    ordinary = ~torch.tensor([t.special for t in tokens])
    kinds = [kind for kind in KINDS if kind != "uniform"]
    tally = _Tally(
        {kind: torch.zeros(heads, dtype=torch.float64) for kind in kinds},
        {kind: torch.zeros(heads, dtype=torch.int64) for kind in kinds},
        torch.zeros(heads, length, dtype=torch.int64),
    )
    column = torch.arange(length)
    for tile, weights in attention_map.stream():
        row = torch.arange(tile.rows.start, tile.rows.stop)
        distance = column - row[:, None]
        chosen = {
            "previous": distance == -1,
            "next": distance == 1,
            "self": distance == 0,
            "first": (column == 0) & (row[:, None] > 0),
            "separator": separators.expand(len(row), -1),
            # what stands right before or at the query itself would be no evidence of looking back
            "induction": _follows_same(ids, row) & (distance < -1) & ordinary[row, None],
            "local": (distance.abs() <= 3) & (distance != 0),
        }
        mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
        live = _scores.live_cells(problem, tile, mask)[0].cpu()
        part = weights[0].double().cpu()
        tally.live[tile.heads, tile.rows] = live.sum(-1)
        for kind, cells in chosen.items():
            others = distance.abs() > 3 if kind == "local" else ~cells
            had_choice = (live & cells).any(-1) & (live & others).any(-1)
            weight = part.masked_fill(~cells, 0).sum(-1).masked_fill(~had_choice, 0)
            tally.sums[kind][tile.heads] += weight.sum(-1)
            tally.queries[kind][tile.heads] += had_choice.sum(-1)
    return tally


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
