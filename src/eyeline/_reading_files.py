"""A reading as plain data beside its maps, and back."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eyeline.predictions import Prediction
from eyeline.tokens import Token

if TYPE_CHECKING:
    from eyeline.readings import Reading

__all__ = ["from_data", "to_data"]


def to_data(reading: "Reading") -> dict[str, Any]:
    """What a file holds of a reading besides its maps; the model is not among it."""
    return {
        "text": reading.text,
        "tokens": [dataclasses.asdict(t) for t in reading.tokens],
        "target": reading.target,
        "target_tokens": [dataclasses.asdict(t) for t in reading.target_tokens],
        "model": reading.model,
        "source": reading.source,
        "family": reading.family,
        "predictions": [p.to_dict() for p in reading.predictions],
    }


def from_data(data: dict[str, Any]) -> dict[str, Any]:
    """What `Reading` is made of, from what `to_data` gave.

    Raises:
        KeyError, ValueError, TypeError: Something is missing, or is something else.
    """
    return {
        "text": data["text"],
        "tokens": _tokens(data["tokens"]),
        "target": data.get("target"),
        "target_tokens": _tokens(data["target_tokens"]),
        "model": data["model"],
        "source": data["source"],
        "family": data.get("family", "encoder"),
        "predictions": [
            Prediction(
                p["kind"],
                p["position"],
                tuple((word, float(share)) for word, share in p["candidates"]),
                tuple(p["vector"]),
            )
            for p in data["predictions"]
        ],
    }


def _tokens(data: Sequence[dict[str, Any]]) -> list[Token]:
    return [Token(**one) for one in data]
