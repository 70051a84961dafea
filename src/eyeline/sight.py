"""Who may look where, and who does: what a mask allows beside what the weights make of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline._plain import plain
from eyeline.impl import _scores
from eyeline.maps import AttentionMap
from eyeline.tokens import Token

__all__ = ["Sight", "make_sight"]

MOST_TOKENS = 512
"""Beyond so many, a table of all pairs says nothing to anybody."""


@dataclass(frozen=True, eq=False)
class Sight:
    """All pairs of tokens of one text in one model.

    Attributes:
        kind: "encoder", "decoder" or "cross".
        queries: The tokens that look.
        keys: The tokens that are looked at.
        may: Whether query i may look at key j, in any layer.
        does: How much it does: the weights averaged over all layers and heads.
    """

    kind: str
    queries: Sequence[Token]
    keys: Sequence[Token]
    may: Bool[Tensor, "q_len kv_len"]
    does: Float[Tensor, "q_len kv_len"]

    @property
    def rule(self) -> str:
        """What the mask amounts to, in words."""
        if bool(self.may.all()):
            return "every token may look at every other, in front and behind"
        rows, cols = self.may.shape
        if rows == cols and torch.equal(self.may, torch.ones_like(self.may).tril()):
            return "a token may look back and at itself, never ahead"
        return "a token may look where the model's mask lets it"

    def ahead(self, query: int) -> float:
        """The share of a query's weights that lies on tokens behind it in the text."""
        return float(self.does[query, query + 1 :].sum())

    def back(self, query: int) -> float:
        """The share of a query's weights that lies on tokens before it."""
        return float(self.does[query, :query].sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "kind": self.kind,
            "rule": self.rule,
            "may": self.may.tolist(),
            "does": plain(self.does),
        }


def make_sight(
    maps: Mapping[int, AttentionMap], kind: str, queries: Sequence[Token], keys: Sequence[Token]
) -> Sight:
    """Look at every pair of tokens, in all layers and heads.

    Args:
        maps: Layer → map of one text.
        kind: "encoder", "decoder" or "cross".
        queries: The tokens that look.
        keys: The tokens that are looked at.

    Raises:
        EyelineError: The text is too long for a table of pairs.
    """
    if max(len(queries), len(keys)) > MOST_TOKENS:
        raise EyelineError(
            f"the text is {max(len(queries), len(keys))} tokens: a table of all pairs is drawn up "
            f"to {MOST_TOKENS}; shorten the text"
        )
    may = torch.zeros(len(queries), len(keys), dtype=torch.bool)
    does = torch.zeros(len(queries), len(keys), dtype=torch.float64)
    for seen in maps.values():
        problem, tile = seen.problem, seen.problem.whole()
        mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
        live = _scores.live_cells(problem, tile, mask).expand(tile.shape)
        may |= live[0].any(0).cpu()
        does += seen.dense()[0].double().mean(0).cpu() / len(maps)
    return Sight(kind, queries, keys, may, does)
