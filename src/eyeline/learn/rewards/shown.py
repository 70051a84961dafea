"""What a reward shows."""

from dataclasses import dataclass

__all__ = ["Shown"]


@dataclass(frozen=True)
class Shown:
    """Sentences about the learner's code at work.

    Attributes:
        title: Where it ran.
        lines: What came out; every number was computed by their code or measured beside it.
        delta: Largest difference from what the model itself computes, or None where there is
            nothing to compare with.
    """

    title: str
    lines: tuple[str, ...]
    delta: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {"title": self.title, "lines": list(self.lines), "delta": self.delta}
