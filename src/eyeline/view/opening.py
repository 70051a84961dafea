"""What the user means on the command line: a text, or the file that holds it."""

from pathlib import Path
from typing import TextIO

from eyeline._errors import EyelineError

__all__ = ["text_or_file"]

_LONGEST = 16 * 2**20
"""Bytes of a file; about four million tokens."""


def text_or_file(given: str, stdin: TextIO) -> str:
    """The text itself, a file's content if there is a file of that name, or standard input for "-".

    Raises:
        EyelineError: The file cannot be read, is too long, or is not text in UTF-8.
    """
    if given == "-":
        return stdin.read()
    path = _file(given)
    if path is None:
        return given
    try:
        size = path.stat().st_size
        if size > _LONGEST:
            limit = _LONGEST // 2**20
            raise EyelineError(f"{path} has {size / 2**20:.0f} MiB, at most {limit} are read")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EyelineError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise EyelineError(
            f"{path} is not text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None


def _file(given: str) -> Path | None:
    """The file of that name, if there is one; what looks like a path to one must be one."""
    try:
        path = Path(given).expanduser()
        if path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # too long for a name, or no name at all
        return None
    if " " not in given and path.suffix in (".txt", ".md") and len(path.parts) > 0:
        raise EyelineError(f"there is no file {given}: give an existing file, or a text")
    return None
