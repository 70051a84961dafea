"""What a page shows first: the tokens, the model, and which attention there is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eyeline.maps import AttentionMap
from eyeline.readings import Reading
from eyeline.tokens import Token
from eyeline.view.answers.parameters import Asked
from eyeline.view.packets import pack

__all__ = ["answer", "describe", "rule_of"]


def answer(asked: Asked) -> bytes:
    """Tokens as one text joined by U+0000, how each is set, the maps' shapes, the predictions."""
    reading = asked.viewed.reading
    arrays, sides = {}, {}
    for side, tokens, text in (
        ("source", reading.tokens, reading.text),
        ("target", reading.target_tokens, ""),
    ):
        if tokens:
            sides[side] = "\0".join(t.label for t in tokens)
            arrays[f"{side}_set"] = np.array(_set(tokens, text), dtype=np.uint8)
    return pack({**describe(reading), "tokens": sides}, arrays)


def describe(reading: Reading) -> dict[str, Any]:
    """The reading in words and a few numbers."""
    kinds = {}
    for kind in reading.kinds:
        maps = reading.maps(kind)
        first = next(iter(maps.values()))
        _, heads, q_len, kv_len = first.shape
        kinds[kind] = {
            "layers": list(maps),
            "heads": heads,
            "q_len": q_len,
            "kv_len": kv_len,
            "queries": "target"
            if reading.query_tokens(kind) is reading.target_tokens
            else "source",
            "keys": "target" if reading.key_tokens(kind) is reading.target_tokens else "source",
            "rules": [rule_of(m) for m in maps.values()],
        }
    return {
        "version": 1,
        "model": reading.model,
        "source": reading.source,
        "family": reading.family,
        "text": reading.text if len(reading.text) <= 4000 else "",
        "kind": reading.default_kind,
        "kinds": kinds,
        "predictions": [
            {"kind": p.kind, "position": p.position, "candidates": [list(c) for c in p.candidates]}
            for p in reading.predictions
        ],
    }


def rule_of(attention_map: AttentionMap) -> str:
    """Who may look where, in a word or as the mask says it."""
    mask = attention_map.mask
    return "all" if mask is None else str(mask)


_JOINED, _SPACE, _LINE, _SPECIAL = 0, 1, 2, 4


def _set(tokens: Sequence[Token], text: str) -> list[int]:
    """What stands before each token (nothing, a space, a new line), and whether it is special."""
    result, end = [], 0
    for token in tokens:
        if token.start >= 0:
            gap = text[end : token.start]
            # a tokenizer of bytes counts the space before a word as part of it
            gap += text[token.start : token.end].removesuffix(
                text[token.start : token.end].lstrip()
            )
            code = _LINE if "\n" in gap else _SPACE if gap or token.start > end else _JOINED
            end = max(end, token.end)
        elif token.special:
            code = _SPACE
        else:
            code = _SPACE if token.piece[:1] in ("Ġ", "▁", " ") else _JOINED
        result.append((code if token.index else _JOINED) | (_SPECIAL if token.special else 0))
    for i in range(1, len(tokens)):  # what is added to a text stands apart from it
        if tokens[i - 1].special and not result[i] & 3:
            result[i] |= _SPACE
    return result
