"""A timed interview: questions from all topics, no feedback until the end."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eyeline._errors import EyelineError
from eyeline.learn.drill.grading import Outcome
from eyeline.learn.drill.question import Question
from eyeline.learn.drill.questions import TOPICS, questions

__all__ = ["Answer", "Report", "choose"]


@dataclass(frozen=True)
class Answer:
    """One answer of the interview.

    Attributes:
        topic: Topic of the question.
        outcome: What came of it.
        seconds: How long it took.
        in_time: Whether the time had not run out.
    """

    topic: str
    outcome: Outcome
    seconds: float
    in_time: bool

    @property
    def counts(self) -> bool:
        """Whether it counts as right."""
        return self.outcome.right and self.in_time


@dataclass(frozen=True)
class Report:
    """How an interview went.

    Attributes:
        answers: Those that were given, in order.
        asked: How many questions there were.
        seconds: How long it took.
        limit: How long it might have taken.
    """

    answers: Sequence[Answer]
    asked: int
    seconds: float
    limit: float

    @property
    def right(self) -> int:
        """How many were right, and in time."""
        return sum(one.counts for one in self.answers)

    def by_topic(self) -> dict[str, tuple[int, int]]:
        """Topic → how many were right, of how many answered."""
        every: dict[str, tuple[int, int]] = {}
        for one in self.answers:
            right, asked = every.get(one.topic, (0, 0))
            every[one.topic] = right + one.counts, asked + 1
        return {topic: every[topic] for topic in TOPICS if topic in every}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "right": self.right,
            "asked": self.asked,
            "answered": len(self.answers),
            "seconds": round(self.seconds, 1),
            "limit": self.limit,
            "topics": {
                topic: {"right": right, "asked": asked}
                for topic, (right, asked) in self.by_topic().items()
            },
            "answers": [
                one.outcome.to_dict()
                | {"topic": one.topic, "seconds": round(one.seconds, 1), "in_time": one.in_time}
                for one in self.answers
            ],
        }


def choose(count: int, seed: int | None = None) -> list[tuple[str, Question]]:
    """Questions for an interview: from every topic in turn, mixed.

    Args:
        count: How many.
        seed: The same seed gives the same questions.

    Raises:
        EyelineError: There are not so many.
    """
    total = len(questions())
    if not 1 <= count <= total:
        raise EyelineError(f"--mock {count}: an interview has 1 to {total} questions")
    draw = random.Random(seed)
    piles = {topic: list(questions(topic)) for topic in TOPICS}
    for pile in piles.values():
        draw.shuffle(pile)
    chosen: list[tuple[str, Question]] = []
    while len(chosen) < count:
        for topic in draw.sample(TOPICS, len(TOPICS)):
            if piles[topic] and len(chosen) < count:
                chosen.append((topic, piles[topic].pop()))
    draw.shuffle(chosen)
    return chosen
