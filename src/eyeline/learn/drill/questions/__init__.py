"""The questions, by topic."""

from functools import cache

from eyeline._errors import EyelineError
from eyeline.learn.drill.question import Question

__all__ = ["TOPICS", "find_question", "questions"]

TOPICS = ("why", "core", "masks", "heads", "positions", "families", "serving", "coding")


@cache
def questions(topic: str | None = None) -> tuple[Question, ...]:
    """All questions in order, or those of a topic; this imports torch.

    Raises:
        EyelineError: There is no such topic.
    """
    import importlib

    if topic is not None and topic not in TOPICS:
        raise EyelineError(f"there is no topic {topic!r}: choose from {', '.join(TOPICS)}")
    every: list[Question] = []
    for name in TOPICS if topic is None else (topic,):
        every += importlib.import_module(f"eyeline.learn.drill.questions.{name}").QUESTIONS
    return tuple(sorted(every, key=lambda one: one.number))


def find_question(number: int) -> Question:
    """The question of that number.

    Raises:
        EyelineError: There is none.
    """
    for one in questions():
        if one.number == number:
            return one
    raise EyelineError(f"there is no question {number}: they are 1 to {len(questions())}")
