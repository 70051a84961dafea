"""How a fetch says how far it is, without knowing who listens."""

from typing import Protocol


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
