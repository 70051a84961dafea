"""Check a file whenever it is saved."""

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from eyeline.learn.master import Master, masters
from eyeline.learn.practice.workspace import Workspace

__all__ = ["saved"]

_EVERY = 0.1


def saved(workspace: Workspace, sleep: Callable[[float], None] = time.sleep) -> Iterator[Master]:
    """The exercises whose files change, as they are saved; without an end.

    The files are looked at ten times a second, by content: events of the file system miss saves on
    network folders, and some editors write a file anew where others replace it.

    Args:
        workspace: The folder.
        sleep: How to wait.
    """
    seen = {one.label: _content(workspace.file(one)) for one in masters()}
    while True:
        sleep(_EVERY)
        for one in masters():
            now = _content(workspace.file(one))
            if now is not None and now != seen[one.label]:
                seen[one.label] = now
                yield one


def _content(path: Path) -> tuple[int, int, bytes] | None:
    """Something that changes when the file does; None while it is not there or being written."""
    try:
        status = path.stat()
        text = path.read_bytes()
    except OSError:
        return None
    return (len(text), 0, sha256(text).digest()) if status.st_size else None
