"""What kind of head is this? A census with evidence, and "unsure" as an answer.

Every score is an average over queries of this one text, so it says what the head does here, not what
it is. A label needs its score, enough queries to speak of, and to stand out; else it is "unsure".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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
"""Each kind of head and what its score measures."""

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
        scores: Kind → score from 0 to 1; None where the text gives too few queries to say.
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
        if self.label == "unsure":
            best = max((k for k in self.scores if self.scores[k] is not None), key=self._score)
            return f"closest is {best}, {self._score(best):.2f} on {self.queries[best]} queries"
        return f"{self._score(self.label):.2f} on {self.queries[self.label]} queries"

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
            "entropy": self.entropy,
        }


def census(attention_map: AttentionMap, layer: int, tokens: Sequence[Token]) -> list[HeadReport]:
    """Score every head of one self-attention layer, in one pass over its weights."""
    length = len(tokens)
    sums = _sums(attention_map, tokens)
    induction_queries = int((_induction_targets(tokens) >= 0).sum())
    live = (
        torch.arange(1, length + 1) if _is_causal(attention_map) else torch.full((length,), length)
    )
    counted = live >= 4
    queries = {
        "previous": length - 1,
        "next": length - 1,
        "self": length,
        "first": length - 1,
        "separator": length if _separators(tokens).any() else 0,
        "induction": induction_queries,
        "local": length,
        "uniform": int(counted.sum()),
    }
    entropy = attention_map.entropy()[0]
    share = (entropy / live.clamp(min=2).log().to(entropy))[:, counted]
    reports = []
    for head in range(attention_map.shape[1]):
        scores: dict[str, float | None] = {}
        for kind in KINDS:
            total = float(share[head].sum()) if kind == "uniform" else float(sums[kind][head])
            enough = queries[kind] >= _LEAST_QUERIES
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


def _sums(attention_map: AttentionMap, tokens: Sequence[Token]) -> dict[str, Tensor]:
    """Per head, the sum over queries of the weight that each kind looks for."""
    length, heads = len(tokens), attention_map.shape[1]
    separators = _separators(tokens)
    target = _induction_targets(tokens)
    kinds = [k for k in KINDS if k != "uniform"]
    sums = {kind: torch.zeros(heads, dtype=torch.float64) for kind in kinds}
    column = torch.arange(length)
    for tile, weights in attention_map.stream():
        part = weights[0].double().cpu()
        row = torch.arange(tile.rows.start, tile.rows.stop)
        distance = column - row[:, None]
        chosen = {
            "previous": distance == -1,
            "next": distance == 1,
            "self": distance == 0,
            "first": (column == 0) & (row[:, None] > 0),
            "separator": separators.expand(len(row), -1),
            "induction": column == target[row][:, None],
            "local": (distance.abs() <= 3) & (distance != 0),
        }
        for kind, cells in chosen.items():
            sums[kind][tile.heads] += part.masked_fill(~cells, 0).sum((-1, -2))
    return sums


def _induction_targets(tokens: Sequence[Token]) -> Tensor:
    """For each token, the index after its latest earlier occurrence; -1 if there is none."""
    seen: dict[int, int] = {}
    targets = []
    for token in tokens:
        before = seen.get(token.id)
        targets.append(-1 if before is None or token.special else before + 1)
        seen[token.id] = token.index
    return torch.tensor(targets, dtype=torch.int64)


def _separators(tokens: Sequence[Token]) -> Tensor:
    marks = [
        t.index > 0 and (t.special or (bool(t.label) and set(t.label) <= _PUNCTUATION))
        for t in tokens
    ]
    return torch.tensor(marks, dtype=torch.bool)


def _is_causal(attention_map: AttentionMap) -> bool:
    """Whether the first query is kept from seeing the last key."""
    length = attention_map.shape[3]
    return length > 1 and not bool(attention_map[0, :, 0, length - 1].any())
