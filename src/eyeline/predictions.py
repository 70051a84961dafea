"""What a model says after reading: the next token, the masked tokens, or a vector for the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from eyeline.tokens import Token

__all__ = ["Prediction", "embedding_of", "predict"]


@dataclass(frozen=True)
class Prediction:
    """One prediction.

    Attributes:
        kind: "next" token, "masked" token, or "embedding" of the text.
        position: Which token it stands at; None for an embedding.
        candidates: The likeliest tokens with their probabilities.
        vector: The embedding: mean of the tokens' vectors, scaled to length 1.
    """

    kind: Literal["next", "masked", "embedding"]
    position: int | None = None
    candidates: tuple[tuple[str, float], ...] = ()
    vector: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "kind": self.kind,
            "position": self.position,
            "candidates": [list(c) for c in self.candidates],
            "vector": list(self.vector),
        }


def predict(
    logits: Tensor, tokens: Sequence[Token], tokenizer: Any, *, masked: bool, count: int = 5
) -> list[Prediction]:
    """The likeliest tokens: at every mask token, or after the last one.

    Args:
        logits: `[length, vocabulary]`, or the last row only.
        tokens: The tokens that were read.
        tokenizer: For the text of the candidates.
        masked: Whether the model fills masks rather than continues.
        count: How many candidates.

    Returns:
        One prediction per position; none where the model's numbers are not finite.
    """
    if masked:
        positions = [t.index for t in tokens if t.id == tokenizer.mask_token_id]
        rows = logits[positions]
    else:
        positions, rows = [len(tokens) - 1], logits[-1:]
    top = torch.softmax(rows.float(), -1).topk(min(count, rows.shape[-1]), -1)
    predictions = []
    for position, values, ids in zip(positions, top.values, top.indices, strict=True):
        if not bool(values.isfinite().all()):
            continue  # the model's numbers are not finite: it says nothing
        words = [tokenizer.decode([int(i)]) for i in ids]
        predictions.append(
            Prediction(
                "masked" if masked else "next",
                position,
                tuple(zip(words, (float(v) for v in values), strict=True)),
            )
        )
    return predictions


def embedding_of(hidden: Tensor) -> Prediction:
    """Mean pooling over `[length, embed_dim]`, scaled to length 1."""
    mean = hidden.float().mean(0)
    return Prediction("embedding", vector=tuple((mean / mean.norm().clamp(min=1e-12)).tolist()))
