"""Tokens as a reader sees them, and how a reader names one."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eyeline._errors import EyelineError

__all__ = ["Token", "TokenNotFound", "find_token", "read_tokens"]


class TokenNotFound(EyelineError):
    """The text has no such token; the message names the near ones."""


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        index: Its position, from 0.
        id: Its number in the vocabulary.
        label: How it is shown: the text it stands for. Parts of one character that the tokenizer
            split into bytes are numbered, `🙂 1/3`.
        piece: The tokenizer's own string, such as `##ing` or `Ġthe`.
        start: Where its text begins (characters), or -1 for a special token.
        end: Where its text ends.
        special: Added by the tokenizer: [CLS], </s>, ….
    """

    index: int
    id: int
    label: str
    piece: str
    start: int
    end: int
    special: bool


def read_tokens(text: str, encoding: Any, tokenizer: Any) -> list[Token]:
    """The tokens of a fast tokenizer's encoding of `text`.

    Args:
        text: What was encoded.
        encoding: `input_ids`, `offset_mapping` and `special_tokens_mask` as flat lists.
        tokenizer: The tokenizer, for pieces.
    """
    ids, offsets = encoding["input_ids"], encoding["offset_mapping"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    specials = [
        bool(mask) or (start == end)
        for mask, (start, end) in zip(encoding["special_tokens_mask"], offsets, strict=True)
    ]
    tokens = []
    for i, (number, piece) in enumerate(zip(ids, pieces, strict=True)):
        start, end = offsets[i]
        if specials[i]:
            start = end = -1
            label = piece
        else:
            label = text[start:end].strip() or _visible(text[start:end])
            label += _part_of_character(i, offsets, specials)
        tokens.append(Token(i, number, label, piece, start, end, specials[i]))
    return tokens


def ids_to_tokens(ids: Sequence[int], tokenizer: Any) -> list[Token]:
    """Tokens that a model made, where there is no source text to point into."""
    special = set(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    tokens = []
    for i, (number, piece) in enumerate(zip(ids, pieces, strict=True)):
        label = piece if number in special else tokenizer.decode([number]).strip() or piece
        tokens.append(Token(i, int(number), label, piece, -1, -1, number in special))
    return tokens


def find_token(tokens: Sequence[Token], name: str | int) -> Token:
    """The token that the user means.

    Args:
        tokens: The tokens to look among.
        name: An index (`9`, `-1`, or `"#9"`), the token's text (`"it"`, its first occurrence; case
            does not matter unless both spellings occur), or text and occurrence (`"it:2"`).

    Raises:
        TokenNotFound: There is none; the message names near ones, or the tokens that a longer
            text was split into.
    """
    if isinstance(name, int):
        return _by_index(tokens, name)
    same = _same_text(tokens, name)
    if same:
        return same[0]
    text, colon, count = name.rpartition(":")
    if colon and count.isdecimal() and (same := _same_text(tokens, text)):
        if 1 <= int(count) <= len(same):
            return same[int(count) - 1]
        raise TokenNotFound(
            f"'{text}' occurs {len(same)} times in the text: there is no '{name}' "
            f"(choose '{text}:1' to '{text}:{len(same)}')"
        )
    digits = name.removeprefix("#")
    if digits.removeprefix("-").isdecimal():
        return _by_index(tokens, int(digits))
    raise TokenNotFound(_not_found(tokens, name))


def _same_text(tokens: Sequence[Token], text: str) -> list[Token]:
    for same in (
        [t for t in tokens if text in (t.label, t.piece)],
        [t for t in tokens if t.label.casefold() == text.casefold()],
    ):
        if same:
            return same
    return []


def _by_index(tokens: Sequence[Token], index: int) -> Token:
    if not -len(tokens) <= index < len(tokens):
        raise TokenNotFound(
            f"there is no token {index}: the text has {len(tokens)} tokens, 0 to {len(tokens) - 1}"
        )
    return tokens[index % len(tokens)]


def _not_found(tokens: Sequence[Token], name: str) -> str:
    wanted = name.casefold().replace(" ", "")
    for first in range(len(tokens)):
        joined = ""
        for last in range(first, len(tokens)):
            if tokens[last].special:
                break
            joined += tokens[last].label.casefold()
            if joined == wanted:
                parts = ", ".join(f"'{t.label}' (#{t.index})" for t in tokens[first : last + 1])
                return f"'{name}' is {last - first + 1} tokens in this text: choose one of {parts}"
            if not wanted.startswith(joined):
                break
    labels = list(dict.fromkeys(t.label for t in tokens))
    near = difflib.get_close_matches(name, labels, n=3, cutoff=0.5)
    if not near:
        near = [label for label in labels if wanted and wanted in label.casefold()][:3]
    hint = ", ".join(f"'{label}'" for label in near)
    some = " ".join(labels[:12]) + (" …" if len(labels) > 12 else "")
    return f"the text has no token '{name}': " + (
        f"did you mean {hint}?" if near else f"its tokens are {some}"
    )


def _visible(text: str) -> str:
    return {"\n": "⏎", "\t": "⇥", "": "∅"}.get(text, "␣" if text.isspace() else text)


def _part_of_character(i: int, offsets: Sequence[tuple[int, int]], specials: list[bool]) -> str:
    """`" 2/3"` for the second of three tokens that share one stretch of text, else nothing."""
    first = last = i
    while first > 0 and not specials[first - 1] and offsets[first - 1] == offsets[i]:
        first -= 1
    while last + 1 < len(offsets) and not specials[last + 1] and offsets[last + 1] == offsets[i]:
        last += 1
    return "" if first == last else f" {i - first + 1}/{last - first + 1}"
