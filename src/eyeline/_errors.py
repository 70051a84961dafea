"""The errors that are the user's business: one clear line, no traceback.

The command line prints the message of an `EyelineError` and exits with 2. Whoever raises one says
what was expected, what was found and what to do.
"""

from pathlib import Path


class EyelineError(Exception):
    """A problem that the user can understand and act on; the message is one clear line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class CheckpointError(EyelineError):
    """A file or folder of a model that is not what it must be; nothing of it was used.

    Attributes:
        path: The file or folder.
        what: What was checked, for example `"length of the token list"`.
        found: What stands there.
        limit: What would have been accepted, or None.
        fix: What the user can do, or None.
    """

    def __init__(
        self,
        path: Path | str,
        what: str,
        found: object,
        *,
        limit: object = None,
        fix: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.what = what
        self.found = found
        self.limit = limit
        self.fix = fix
        expected = "" if limit is None else f" (expected {limit})"
        advice = "" if fix is None else f"; {fix}"
        super().__init__(f"{self.path}: {what}: found {found}{expected}{advice}")


class ModelNotFound(EyelineError):
    """No model goes by the name that was given."""


def one_line(text: object) -> str:
    """`text` on one line, with nothing in it that a terminal would obey.

    Names out of a foreign file end up in messages, and a name may hold escape sequences.

    Args:
        text: Anything with a `str`.

    Returns:
        The printable characters of it, whitespace runs as one space, others as `?`.
    """
    words = " ".join(str(text).split())
    return "".join(char if char.isprintable() else "?" for char in words)
