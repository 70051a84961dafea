"""What a tokenizer.json must look like before the library loads it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eyeline._errors import CheckpointError

__all__ = ["check_tokenizer", "check_vocabulary"]

MAX_TOKENS = 10_000_000
MAX_PARTS = 64
MAX_DEPTH = 8
MAX_PATTERN = 2_000
MAX_GROWTH = 16.0
"""A normalizer may make a text so many times as long."""

_PIPELINE = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_MODELS = ("BPE", "WordPiece", "WordLevel", "Unigram")


def check_tokenizer(text: str, path: Path) -> None:
    """Refuse what the library would panic or choke on.

    Args:
        text: The content of the file.
        path: The file, for messages.

    Raises:
        CheckpointError: Something is not as it should be.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(path, "JSON", str(error)[:200], "JSON") from error
    _require(path, "JSON", type(content).__name__, isinstance(content, dict), "an object")
    model = content.get("model")
    _require(path, "model", type(model).__name__, isinstance(model, dict), "an object")
    kind = model.get("type") or ("Unigram" if isinstance(model.get("vocab"), list) else "BPE")
    _require(path, "kind of model", kind, kind in _MODELS, f"one of {', '.join(_MODELS)}")
    tokens = check_vocabulary(path, model.get("vocab"))
    if isinstance(model.get("unk_id"), int):
        unknown = model["unk_id"]
        known = 0 <= unknown < len(tokens)
        _require(path, "unk_id", unknown, known, f"0 to {len(tokens) - 1}")
    _check_added(path, content.get("added_tokens") or [], tokens)
    for name in _PIPELINE:
        _check_parts(path, name, content.get(name))


def check_vocabulary(path: Path, vocabulary: Any) -> dict[str, int]:
    """Every token and its number.

    Args:
        path: The file, for messages.
        vocabulary: Token → number, or a list of tokens with their scores (Unigram).

    Raises:
        CheckpointError: It is neither, or two tokens have one number.
    """
    if isinstance(vocabulary, list):  # Unigram: token and score, numbered in order
        pairs = all(
            isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) and _real(p[1])
            for p in vocabulary
        )
        _require(path, "vocab", "a list", pairs, "a list of pairs of token and score")
        return {pair[0]: number for number, pair in enumerate(vocabulary)}
    _require(path, "vocab", type(vocabulary).__name__, isinstance(vocabulary, dict), "an object")
    numbers = list(vocabulary.values())
    fine = all(type(n) is int and 0 <= n < MAX_TOKENS for n in numbers)
    _require(path, "vocab", "a token's number", fine, f"whole numbers below {MAX_TOKENS}")
    once = len(set(numbers)) == len(numbers)
    _require(path, "vocab", "two tokens with one number", once, "each number once")
    return vocabulary


def _check_added(path: Path, added: Any, tokens: dict[str, int]) -> None:
    fine = isinstance(added, list) and all(
        isinstance(t, dict)
        and isinstance(t.get("content"), str)
        and type(t.get("id")) is int
        and 0 <= t["id"] < MAX_TOKENS
        for t in added
    )
    _require(path, "added_tokens", type(added).__name__, fine, "a list of tokens with numbers")
    owners = {number: token for token, number in tokens.items()}
    for token in added:
        owner = owners.setdefault(token["id"], token["content"])
        same = owner == token["content"]
        found = f"{token['content']!r} with the number {token['id']} of {owner!r}"
        _require(path, "added token", found[:200], same, "a number of its own")


def _check_parts(path: Path, name: str, root: Any) -> None:
    if root is None:
        return
    growth, count = 1.0, 0
    for depth, part in _walk(root, 0):
        count += 1
        _require(path, name, f"{count} parts", count <= MAX_PARTS, f"at most {MAX_PARTS}")
        _require(path, name, f"depth {depth}", depth <= MAX_DEPTH, f"at most {MAX_DEPTH}")
        pattern = part.get("pattern")
        if isinstance(pattern, dict) and isinstance(regex := pattern.get("Regex"), str):
            fine = len(regex) <= MAX_PATTERN and not _may_explode(regex)
            _require(path, f"pattern of the {name}", regex[:100], fine, "no loop within a loop")
        if name == "normalizer" and part.get("type") == "Replace":
            growth *= max(_growth(part), 1.0)
            most = f"texts at most {MAX_GROWTH:g} times as long"
            _require(path, name, f"texts {growth:g} times as long", growth <= MAX_GROWTH, most)


def _walk(part: Any, depth: int) -> Iterator[tuple[int, dict[str, Any]]]:
    if depth > MAX_DEPTH + 1:
        return
    if isinstance(part, dict):
        yield depth, part
        for key in ("normalizers", "pretokenizers", "processors", "decoders"):
            for child in part.get(key) or ():
                yield from _walk(child, depth + 1)


def _growth(part: dict[str, Any]) -> float:
    """How many characters a replaced one becomes at most."""
    content, pattern = part.get("content"), part.get("pattern")
    if not isinstance(content, str):
        return 1.0
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    return len(content) / max(len(literal), 1) if isinstance(literal, str) else float(len(content))


def _may_explode(regex: str) -> bool:
    """Whether a group that holds an endless loop is itself looped endlessly: `(a+)+`."""
    loops = [False]  # of each open group: whether it holds an endless loop
    closed = False  # whether the last thing was a group with such a loop
    i = 0
    while i < len(regex):
        char = regex[i]
        if char == "\\":
            i, closed = i + 2, False
            continue
        if char == "[":
            i, closed = _end_of_class(regex, i), False
            continue
        endless = re.match(r"[*+]|\{\d*,\}", regex[i:])
        if endless:
            if closed:
                return True
            loops[-1], closed = True, False
            i += endless.end()
            continue
        if char == "(":
            loops.append(False)
            closed = False
        elif char == ")" and len(loops) > 1:
            closed = loops.pop()
            loops[-1] = loops[-1] or closed
        else:
            closed = False
        i += 1
    return False


def _end_of_class(regex: str, start: int) -> int:
    depth, i = 0, start
    while i < len(regex):
        if regex[i] == "\\":
            i += 1
        elif regex[i] == "[":
            depth += 1
        elif regex[i] == "]" and i > start + 1:
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return len(regex)


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _require(path: Path, what: str, found: object, ok: bool, limit: object) -> None:
    if not ok:
        raise _broken(path, what, found, limit)


def _broken(path: Path, what: str, found: object, limit: object) -> CheckpointError:
    fix = "fetch the model again, or choose another one"
    return CheckpointError(path, f"tokenizer, {what}", found, limit=limit, fix=fix)
