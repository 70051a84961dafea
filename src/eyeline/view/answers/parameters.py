"""What a view may ask with: names and whole numbers, checked before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from eyeline._errors import EyelineError
from eyeline.capture.pacing import Tick
from eyeline.view.viewed import Viewed

__all__ = ["Asked"]


@dataclass(frozen=True)
class Asked:
    """One question's parameters.

    Attributes:
        viewed: The reading that is asked.
        given: Parameter → text.
        tick: Called as `(done, total)` while a model runs; it may raise to stop it.
    """

    viewed: Viewed
    given: Mapping[str, str] = field(default_factory=dict)
    tick: Tick | None = None

    @property
    def kind(self) -> str:
        """Which attention; by default the one that reads the text."""
        kind = self.given.get("kind") or self.viewed.reading.default_kind
        self.viewed.reading.maps(kind)
        return kind

    def number(self, name: str, default: int | None = None, most: int = 2**31) -> int:
        """A whole number from 0 on."""
        text = self.given.get(name, "")
        if not text and default is not None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) < 11) or int(text) > most:
            raise EyelineError(f"{name}={text!r}: a whole number from 0 to {most} is wanted")
        return int(text)

    def optional(self, name: str) -> int | None:
        """A whole number, or None where it is not given or is "all"."""
        return None if self.given.get(name, "all") in ("", "all") else self.number(name)

    @property
    def direction(self) -> Literal["at", "by"]:
        """Looks at, or is looked at by."""
        return "by" if self.given.get("direction") == "by" else "at"

    def flag(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.given.get(name) == "1"

    def token(self, name: str, count: int) -> int:
        """The index of one of `count` tokens."""
        index = self.number(name)
        if index >= count:
            raise EyelineError(f"{name}={index}: there are tokens 0 to {count - 1}")
        return index
