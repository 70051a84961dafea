"""What a question is: something to predict, and the code that settles it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Option", "Question", "Values"]

Values = Mapping[str, float]
"""What a demonstration measured, by name."""


@dataclass(frozen=True)
class Option:
    """One answer to choose.

    Attributes:
        text: The answer.
        why: Why it is right, or what is wrong with it.
        right: Whether it is the right one; a question has exactly one.
    """

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        number: 1 to 76; it never changes.
        ask: The question.
        says: The answer in words; `{name}` stands for a number that the demonstration measures.
        see: Where it is explained: an exercise, a page.
        demo: Computes the answer with the library. Numbers that are asked for are its "answer".
        options: Answers to choose from; none where a number is asked for.
        holds: Whether what was measured bears out the right option.
        unit: Of the number.
        within: How far a number may be off, relatively, to count as right.
    """

    number: int
    ask: str
    says: str
    see: str
    demo: Callable[[], Values] | None = None
    options: tuple[Option, ...] = ()
    holds: Callable[[Values], bool] = field(default=lambda values: True)
    unit: str = ""
    within: float = 0.1

    @property
    def is_number(self) -> bool:
        """Whether a number is asked for."""
        return not self.options
