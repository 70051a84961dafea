"""Tokens as a reader sees them, and how a reader names one."""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from eyeline._errors import EyelineError

__all__ = ["Token", "TokenNotFound", "find_token", "ids_to_tokens", "name_of", "read_tokens"]


_Span: TypeAlias = tuple[int, int]


class TokenNotFound(EyelineError):
    """The text has no such token; the message names the near ones."""


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        index: Its position, from 0.
        id: Its number in the vocabulary.
        label: How it is shown: the text it stands for, with nothing in it that a terminal would
            obey. Parts of one character that the tokenizer split into bytes are numbered, `🙂 1/3`.
        piece: The tokenizer's own string, such as `##ing` or `Ġthe`.
        start: Where its text begins (characters), or -1 where it stands for no text.
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
    ids = encoding["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    specials = [bool(mask) for mask in encoding["special_tokens_mask"]]
    spans = [
        None if special or _stands_for_nothing(piece, text[slice(*span)]) else tuple(span)
        for special, piece, span in zip(specials, pieces, encoding["offset_mapping"], strict=True)
    ]
    spans = _with_accents(text, spans)
    labels = [""] * len(ids)
    for group in _groups(spans):
        if (span := spans[group[0]]) is None:
            labels[group[0]] = _label(pieces[group[0]])
            continue
        whole = _label(text[span[0] : max(s[1] for i in group if (s := spans[i]))])
        for part, i in enumerate(group, start=1):
            labels[i] = whole if len(group) == 1 else f"{whole} {part}/{len(group)}"
    return [
        Token(i, int(ids[i]), labels[i], pieces[i], *(spans[i] or (-1, -1)), specials[i])
        for i in range(len(ids))
    ]


def ids_to_tokens(ids: Sequence[int], tokenizer: Any) -> list[Token]:
    """Tokens that a model made, where there is no source text to point into."""
    special = set(tokenizer.all_special_ids)
    # a model may have more numbers than its tokenizer has pieces
    pieces = [p or f"<{n}>" for p, n in zip(tokenizer.convert_ids_to_tokens(ids), ids, strict=True)]
    tokens: list[Token] = []
    while (i := len(tokens)) < len(ids):
        if ids[i] in special:
            tokens.append(Token(i, int(ids[i]), _label(pieces[i]), pieces[i], -1, -1, True))
            continue
        size, text = _whole_characters(ids[i : i + 8], tokenizer)
        for part in range(size):
            label = _label(text or pieces[i]) + (f" {part + 1}/{size}" if size > 1 else "")
            n = i + part
            tokens.append(Token(n, int(ids[n]), label, pieces[n], -1, -1, False))
    return tokens


def find_token(tokens: Sequence[Token], name: str | int) -> Token:
    """The token that the user means.

    Args:
        tokens: The tokens to look among.
        name: An index (`9`, `-1`, or `"#9"`), the token's text (`"it"`, its first occurrence; case
            does not matter unless both spellings occur), or text and occurrence (`"it:2"`). A
            number that stands in the text means that token; `"#9"` is always the index.

    Raises:
        TokenNotFound: There is none; the message names near ones, or the tokens that a longer
            text was split into.
    """
    if isinstance(name, int):
        return _by_index(tokens, name)
    if same := _same_text(tokens, name):
        return same[0]
    text, colon, count = name.rpartition(":")
    same = _same_text(tokens, text) if colon and count.isdecimal() else []
    if same and 1 <= int(count) <= len(same):
        return same[int(count) - 1]
    if parts := _parts(tokens, name):
        listed = ", ".join(f"'{t.label}' (#{t.index})" for t in parts)
        raise TokenNotFound(f"'{name}' is {len(parts)} tokens in this text: choose one of {listed}")
    if same:
        times = "once" if len(same) == 1 else f"{len(same)} times"
        choices = f"'{text}'" if len(same) == 1 else f"'{text}:1' to '{text}:{len(same)}'"
        raise TokenNotFound(
            f"'{text}' occurs {times} in the text: there is no '{name}' (choose {choices})"
        )
    if re.fullmatch(r"#?-?\d+", name):
        return _by_index(tokens, int(name.removeprefix("#")))
    raise TokenNotFound(_not_found(tokens, name))


def name_of(tokens: Sequence[Token], token: Token) -> str:
    """How a reader names one of these tokens: `the`, and `the:2` where that stands for another."""
    before = sum(one.label == token.label for one in tokens[: token.index])
    return f"{token.label}:{before + 1}" if before else token.label


def _same_text(tokens: Sequence[Token], text: str) -> list[Token]:
    plain = _plain(text)
    for same in (
        [t for t in tokens if t.label == text.strip()],
        [t for t in tokens if plain and _plain(t.label) == plain],
        [t for t in tokens if t.piece == text],
    ):
        if same:
            return same
    return []


def _plain(text: str) -> str:
    """Without what readers don't see: case, and how an accent is encoded."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _by_index(tokens: Sequence[Token], index: int) -> Token:
    if not -len(tokens) <= index < len(tokens):
        raise TokenNotFound(
            f"there is no token {index}: the text has {len(tokens)} tokens, 0 to {len(tokens) - 1}"
        )
    return tokens[index % len(tokens)]


def _parts(tokens: Sequence[Token], name: str) -> Sequence[Token]:
    """The first run of tokens that together are the text `name`."""
    wanted = _plain(name).replace(" ", "")
    texts = [_plain(_part_of_text(t)).replace(" ", "") for t in tokens]
    for first in range(len(tokens)):
        joined = ""
        for last in range(first, len(tokens)):
            joined += texts[last]
            if tokens[last].special or not wanted.startswith(joined) or not wanted:
                break
            following = texts[last + 1 : last + 2]
            if joined == wanted and following != [""]:
                return tokens[first : last + 1]
    return []


def _part_of_text(token: Token) -> str:
    """What a token adds to the text: of a split character's parts, the first one stands for it."""
    split = re.fullmatch(r"(.+) (\d+)/\d+", token.label)
    if split is None:
        return token.label
    return split[1] if split[2] == "1" else ""


def _not_found(tokens: Sequence[Token], name: str) -> str:
    labels = list(dict.fromkeys(t.label for t in tokens))
    folded = {_plain(label): label for label in reversed(labels)}
    near = difflib.get_close_matches(_plain(name), folded, n=3, cutoff=0.5)
    if not near:
        near = [f for f in folded if _plain(name) and _plain(name) in f][:3]
    if near:
        hint = ", ".join(f"'{folded[f]}'" for f in near)
        return f"the text has no token '{name}': did you mean {hint}?"
    some = " ".join(labels[:12]) + (" …" if len(labels) > 12 else "")
    return f"the text has no token '{name}': its tokens are {some}"


def _groups(spans: Sequence[_Span | None]) -> list[list[int]]:
    """Runs of tokens that share characters: a tokenizer of bytes may cut one into several."""
    groups: list[list[int]] = []
    reached = -1
    for i, span in enumerate(spans):
        if span is not None and groups and spans[i - 1] is not None and span[0] < reached:
            groups[-1].append(i)
            reached = max(reached, span[1])
        else:
            groups.append([i])
            reached = -1 if span is None else span[1]
    return groups


def _stands_for_nothing(piece: str, covered: str) -> bool:
    """Whether a piece is no text of its own: sentencepiece writes a `▁` before the first word."""
    return not covered or (not piece.strip("▁") and bool(covered.strip()))


def _with_accents(text: str, spans: Sequence[_Span | None]) -> list[_Span | None]:
    """Combining marks that a tokenizer dropped (BERT does) belong to the character they are on."""
    covered = {i for span in spans if span for i in range(*span)}
    result: list[_Span | None] = []
    for span in spans:
        if span is not None:
            start, end = span
            while end < len(text) and end not in covered and unicodedata.combining(text[end]):
                end += 1
            span = start, end
        result.append(span)
    return result


def _whole_characters(ids: Sequence[int], tokenizer: Any) -> tuple[int, str]:
    """How many of the tokens are needed for whole characters (1 if none will do), and these."""
    for size in range(1, len(ids) + 1):
        text = tokenizer.decode(list(ids[:size]))
        if "\N{REPLACEMENT CHARACTER}" not in text:
            return size, text
    return 1, tokenizer.decode([ids[0]])


_BLANKS = {"\n": "⏎", "\t": "⇥", "\r": "␍", "▁": "␣"}
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def _label(text: str) -> str:
    """Text as it can be shown: trimmed, blanks visible where there is nothing else."""
    trimmed = text.strip()
    if not trimmed.strip("▁"):
        return "".join(_BLANKS.get(char, "␣") for char in text) or "∅"
    base = "◌" if unicodedata.combining(trimmed[0]) else ""  # a mark needs something to stand on
    return base + "".join(
        _shown(char, inside=0 < i < len(trimmed) - 1) for i, char in enumerate(trimmed)
    )


def _shown(char: str, inside: bool) -> str:
    """One character; those that a terminal would obey or nobody could see, by name."""
    if char.isprintable() or (inside and char in _JOINERS):
        return char
    if char in _BLANKS:
        return _BLANKS[char]
    if ord(char) < 0x20:
        return chr(0x2400 + ord(char))  # the pictures of control characters: ␛
    return "␣" if char.isspace() else f"<U+{ord(char):04X}>"
