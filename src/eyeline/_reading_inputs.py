"""From a text to what a model reads, and from what it says to predictions."""

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from eyeline._errors import EyelineError
from eyeline.models.loaded import LoadedModel
from eyeline.predictions import Prediction, embedding_of, predict
from eyeline.tokens import Token, read_tokens

__all__ = [
    "TextTooLong",
    "check_layers",
    "check_text",
    "encode",
    "predictions_of",
    "target_ids",
]

TARGET_LIMIT = 40
"""Tokens that an encoder-decoder writes when no target is given."""


class TextTooLong(EyelineError):
    """The text has more tokens than the model can read at once."""


def encode(
    loaded: LoadedModel, text: str, truncate: bool, beyond_limit: bool = False
) -> tuple[dict[str, Any], list[Token]]:
    """What the model reads of a text, and its tokens."""
    limit = loaded.limit
    if beyond_limit:
        if not loaded.has_rotary_positions:
            raise EyelineError(
                f"{loaded.name} has a vector for each of its {limit} positions and no more: "
                "it cannot read beyond them"
            )
        limit = None
    encoding = loaded.encode(text, truncate=truncate and limit is not None)
    length = len(encoding["input_ids"])
    if length == 0:
        raise EyelineError(f"{loaded.name} finds no token in this text: give at least one word")
    if limit is not None and length > limit:
        raise TextTooLong(
            f"the text is {length} tokens, {loaded.name} reads at most {limit}: "
            f"shorten it, or read only the first {limit} with truncate=True (--truncate)"
        )
    return loaded.inputs(encoding), read_tokens(text, encoding, loaded.tokenizer)


def check_text(text: str) -> None:
    """Raise `EyelineError` for a text of nothing, or that is no text."""
    if not text.strip():
        raise EyelineError("the text is empty: give at least one word")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EyelineError(
            f"the text is not valid Unicode: character {error.start} is {text[error.start]!r}"
        ) from None


def check_layers(loaded: LoadedModel, layers: Collection[int]) -> None:
    """Raise `EyelineError` for layers that the model has not."""
    if isinstance(layers, int):
        raise TypeError(f"layers is a collection of layer numbers: write layers=[{layers}]")
    if not layers:
        raise EyelineError("layers=[] keeps nothing: name at least one layer, or None for all")
    count = loaded.num_layers
    unknown = [n for n in layers if n < 0 or (count is not None and n >= count)]
    if unknown:
        known = "layers count from 0" if count is None else f"layers are 0 to {count - 1}"
        raise EyelineError(f"{loaded.name} has no layer {unknown[0]}: its {known}")


def target_ids(loaded: LoadedModel, inputs: dict[str, Any], target: str | None) -> list[int]:
    """What the decoder reads: the target's tokens, or what the model writes; without an end."""
    limit = loaded.limit
    if target is None:
        most = TARGET_LIMIT if limit is None else min(TARGET_LIMIT, limit - 1)
        ids = loaded.write(inputs, most)
    else:
        check_text(target)
        ids = loaded.target_ids(target)
    if len(ids) > 1 and ids[-1] in loaded.end_ids:
        ids = ids[:-1]
    if limit is not None and len(ids) > limit:
        raise TextTooLong(
            f"the target is {len(ids)} tokens, {loaded.name} reads at most {limit}: shorten it"
        )
    return ids


def predictions_of(loaded: LoadedModel, said: Tensor, tokens: Sequence[Token]) -> list[Prediction]:
    """What the model said after reading these tokens."""
    if loaded.family == "encoder":
        return [embedding_of(said)]
    return predict(said, tokens, loaded.tokenizer, masked=loaded.family == "masked")
