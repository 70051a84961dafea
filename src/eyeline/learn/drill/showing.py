"""The drill in the terminal. Nothing is decided here."""

from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from eyeline.learn.drill.grading import GAVE_UP, Outcome, in_order
from eyeline.learn.drill.mock import Report
from eyeline.learn.drill.progress import Answered
from eyeline.learn.drill.question import Question
from eyeline.learn.drill.questions import TOPICS, questions

__all__ = ["render_list", "render_outcome", "render_question", "render_report", "when"]


def render_question(question: Question, asked: int) -> RenderableType:
    """The question and what may be answered."""
    parts: list[RenderableType] = [
        Text.assemble((f"{question.number}. ", "dim"), (question.ask, "bold"))
    ]
    for letter, option in zip("abcdefgh", in_order(question, asked), strict=False):
        parts.append(Padding(Text(f"{letter}) {option.text}"), (0, 0, 0, 2)))
    if question.is_number:
        unit = f" in {question.unit}" if question.unit else ""
        margin = f"{question.within:.0%}"
        parts.append(Text(f"  a number{unit}; within {margin} counts", style="dim"))
    return Group(*parts)


def render_outcome(outcome: Outcome) -> RenderableType:
    """Predicted, computed, compared; every option explained."""
    question, right = outcome.question, outcome.right
    mark = ("right", "bold green") if right else ("not right", "bold red")
    if outcome.answer == GAVE_UP:
        mark = ("the answer", "bold yellow")
    parts: list[RenderableType] = [Text.assemble(mark)]
    if question.is_number:
        unit = f" {question.unit}" if question.unit else ""
        expected = float(outcome.expected)
        line = f"computed now: {expected:,.4g}{unit}"
        if expected == int(expected) and abs(expected) < 1e12:
            line = f"computed now: {int(expected):,}{unit}"
        if outcome.answer != GAVE_UP:
            off = abs(float(outcome.answer) - expected) / (abs(expected) or 1)
            line += f"; you said {float(outcome.answer):,.10g}, off by {off:.0%}"
        parts.append(Padding(Text(line), (0, 0, 0, 2)))
    parts.append(Padding(Text(outcome.says), (0, 0, 0, 2)))
    for letter, option in zip("abcdefgh", outcome.options, strict=False):
        sign = "✓" if option.right else "✗"
        style = "green" if option.right else ""
        chosen = " (yours)" if letter == outcome.answer else ""
        parts.append(Padding(Text(f"{sign} {letter}) {option.text}{chosen}", style), (0, 0, 0, 2)))
        parts.append(Padding(Text(option.why, style="dim"), (0, 0, 0, 7)))
    if not outcome.borne_out:
        parts.append(Text("On this machine the measurement does not bear this out: not counted."))
    code = "" if question.demo is None else f"    the code: eyeline drill code {question.number}"
    parts.append(Text(f"See {question.see}.{code}", style="dim"))
    return Group(*parts)


def render_list(answered: Mapping[int, Answered]) -> RenderableType:
    """All questions by topic, and how far one is."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("", "topic", "question", "right", "due"):
        table.add_column(column, overflow="fold" if column == "question" else "ellipsis")
    now = datetime.now(UTC)
    for topic in TOPICS:
        for one in questions(topic):
            state = answered.get(one.number)
            score = "" if state is None else f"{state.right}/{state.asked}"
            due = "" if state is None else when(state.due, now)
            table.add_row(str(one.number), topic, one.ask, score, due)
    return Group(table, Text(f"{len(answered)} of {len(questions())} asked."))


def render_report(report: Report) -> RenderableType:
    """How an interview went: by topic, what was wrong, what to read."""
    minutes = report.seconds / 60
    parts: list[RenderableType] = [
        Text(f"{report.right} of {report.asked} right in {minutes:.1f} min", style="bold")
    ]
    missing = report.asked - len(report.answers)
    if missing:
        parts.append(Text(f"{missing} were not answered."))
    late = sum(not one.in_time for one in report.answers)
    if late:
        parts.append(Text(f"{late} came after the {report.limit / 60:.0f} minutes were over."))
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("topic", "right"):
        table.add_column(column)
    for topic, (right, asked) in report.by_topic().items():
        table.add_row(topic, f"{right} of {asked}")
    parts.append(table)
    wrong = [one for one in report.answers if not one.outcome.right]
    if report.answers:
        slow = max(report.answers, key=lambda one: one.seconds)
        parts.append(
            Text(f"Longest: question {slow.outcome.question.number}, {slow.seconds:.0f} s")
        )
    for one in wrong:
        parts += [
            Text(""),
            Text(one.outcome.question.ask, style="bold"),
            render_outcome(one.outcome),
        ]
    return Group(*parts)


def when(due: datetime, now: datetime) -> str:
    """How long until then, in words."""
    seconds = (due - now).total_seconds()
    if seconds <= 0:
        return "now"
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"in {count} {name}{'s' if count > 1 else ''}"
    return "in a minute"
