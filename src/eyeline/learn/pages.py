"""The exercises and questions as Markdown: what stands in docs/ behind the line "generated"."""

from eyeline.learn.drill.questions import TOPICS, questions
from eyeline.learn.master import masters

__all__ = ["GENERATED", "drill_page", "practice_page"]

GENERATED = (
    "<!-- generated from the sources: EYELINE_PAGES=1 pytest tests/learn/test_pages.py -->\n"
)


def practice_page() -> str:
    """All exercises: a table, then each with its story, signature and known mistakes."""
    rows = ["| | exercise | difficulty | minutes |", "|-|-|-|-|"]
    for one in masters():
        exercise = one.exercise
        stars = "●" * exercise.difficulty + "○" * (3 - exercise.difficulty)
        rows.append(f"| {one.number} | {exercise.title} | {stars} | {exercise.minutes} |")
    return "\n".join(rows) + "\n\n" + "\n".join(one.page() for one in masters())


def drill_page() -> str:
    """All questions by topic, without their answers; c: settled by a computation."""
    parts = []
    for topic in TOPICS:
        parts.append(f"### {topic}\n")
        for one in questions(topic):
            how = "a number" if one.is_number else f"{len(one.options)} options"
            computed = "" if one.demo is None else ", computed"
            parts.append(f"{one.number}. {one.ask} *({how}{computed})*")
        parts.append("")
    return "\n".join(parts)
