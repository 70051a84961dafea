"""JSON from a stranger: bounded before it is parsed, and each name of an object once.

Parsed JSON takes up to twenty times the memory of its text, so that marks are counted first.
"""

import json
from pathlib import Path
from typing import Any

from eyeline._errors import CheckpointError

__all__ = ["parse_object", "read_object"]

MAX_BYTES = 10_000_000
MAX_MARKS = {b"{": 60_000, b"[": 60_000, b",": 400_000}
_FIX = "fetch the model again"


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that must hold an object.

    Raises:
        CheckpointError: It is missing, too large, no JSON, or something else.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(path, "size", size, limit=f"at most {MAX_BYTES} bytes")
        return parse_object(path.read_bytes(), path)
    except OSError as error:
        raise CheckpointError(path, "file", error.strerror or error, fix=_FIX) from error


def parse_object(raw: bytes, path: Path, what: str = "JSON") -> dict[str, Any]:
    """The object that some bytes of a file are.

    Args:
        raw: The bytes.
        path: Where they come from, for messages.
        what: What they are, for messages.

    Raises:
        CheckpointError: They are too much, no JSON, no object, or a name stands in one twice.
    """
    for mark, most in MAX_MARKS.items():
        count = raw.count(mark)
        if count > most:
            marks = f"{what}, marks {mark.decode()!r}"
            raise CheckpointError(path, marks, count, limit=f"at most {most}", fix=_FIX)
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, what, str(error)[:200], limit="JSON", fix=_FIX) from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise CheckpointError(path, what, found, limit="an object", fix=_FIX)
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice[:100]!r} stands there twice")
    return found
