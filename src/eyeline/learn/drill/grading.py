"""Is an answer right? Computed now, by the library, and compared."""

import math
import random
import re
from dataclasses import dataclass
from typing import Any

from eyeline._errors import EyelineError
from eyeline.learn.drill.question import Option, Question

__all__ = ["GAVE_UP", "Outcome", "grade", "in_order", "read_answer"]

GAVE_UP = "?"
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """What came of an answer.

    Attributes:
        question: The question.
        answer: What was given, tidied; "?" for no answer.
        right: Whether it counts as right.
        expected: The right letter, or the number that was computed.
        computed: What the demonstration measured.
        borne_out: Whether what was measured here bears out the right option. It always should; if
            it does not, the question is not counted.
        options: The options in the order in which they were shown.
        says: The answer in words, with the numbers that were measured.
    """

    question: Question
    answer: str
    right: bool
    expected: str
    computed: dict[str, float]
    borne_out: bool
    options: tuple[Option, ...]
    says: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "number": self.question.number,
            "answer": self.answer,
            "right": self.right,
            "expected": self.expected,
            "computed": {k: v if math.isfinite(v) else str(v) for k, v in self.computed.items()},
            "borne_out": self.borne_out,
            "says": self.says,
            "options": [
                {"letter": letter, "text": one.text, "right": one.right, "why": one.why}
                for letter, one in zip("abcdefgh", self.options, strict=False)
            ],
            "see": self.question.see,
        }


def in_order(question: Question, asked: int) -> tuple[Option, ...]:
    """The options as they are shown the n-th time: letters are not worth remembering."""
    shuffled = list(question.options)
    random.Random(1000 * question.number + asked).shuffle(shuffled)
    return tuple(shuffled)


def grade(question: Question, answer: str, asked: int = 0) -> Outcome:
    """Run the demonstration and compare.

    Args:
        question: The question.
        answer: A letter, a number, or "?" for no answer.
        asked: How often it was asked before; the order of the options depends on it.

    Raises:
        EyelineError: The answer is neither; nothing was counted.
    """
    options = in_order(question, asked)
    given = answer.strip()
    read = None if given == GAVE_UP else read_answer(question, given)
    computed = {} if question.demo is None else dict(question.demo())
    if question.is_number:
        expected = computed["answer"]
        close = isinstance(read, float) and abs(read - expected) <= question.within * abs(expected)
        shown = f"{expected:.10g}"
        borne_out = math.isfinite(expected)
    else:
        letters = dict(zip("abcdefgh", options, strict=False))
        shown = next(letter for letter, one in letters.items() if one.right)
        close = read == shown
        borne_out = question.holds(computed)
    says = question.says.format(**computed)
    tidied = GAVE_UP if read is None else read if isinstance(read, str) else f"{read:.10g}"
    return Outcome(question, tidied, close, shown, computed, borne_out, options, says)


def read_answer(question: Question, answer: str) -> str | float:
    """The letter or number that was meant.

    Raises:
        EyelineError: It is neither.
    """
    count = len(question.options)
    if not question.is_number:
        letter = answer.lower().removesuffix(")").removesuffix(".")
        if len(letter) == 1 and letter in "abcdefgh"[:count]:
            return letter
        choices = ", ".join("abcdefgh"[:count])
        raise EyelineError(f"{answer[:40]!r} is no answer here: give one of {choices}, or ?")
    return _number(question, answer)


def _number(question: Question, answer: str) -> float:
    """A number as people write it: 1,050,624 or 1/8 or 20 GB or 12 %."""
    text = answer.replace(",", "").replace("_", "").replace("\N{MINUS SIGN}", "-").strip()
    unit = f" (in {question.unit})" if question.unit else ""
    parts = [_NUMBER.match(part.strip()) for part in text.split("/", 1)]
    if any(part is None for part in parts):
        raise EyelineError(f"{answer[:40]!r} is no number: give one{unit}, or ?")
    values = [float(part[0]) for part in parts if part is not None]
    value = values[0]
    if len(values) == 2:
        if values[1] == 0:
            raise EyelineError(f"{answer[:40]!r} divides by zero: give a number{unit}, or ?")
        value /= values[1]
    if "%" in text:
        value /= 100
    if not math.isfinite(value):
        raise EyelineError(f"{answer[:40]!r} is too large: give a number{unit}, or ?")
    return value
