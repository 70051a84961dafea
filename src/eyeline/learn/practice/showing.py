"""Practice in the terminal. Nothing is decided here."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from eyeline._errors import one_line
from eyeline.learn.master import Master, masters
from eyeline.learn.practice.checking import Checked
from eyeline.learn.practice.progress import Done

__all__ = ["render_list", "render_shown", "render_story", "render_verdict"]

_PRINTED = 15


def render_verdict(checked: Checked) -> RenderableType:
    """The verdict, what it rests on, and what to think about."""
    verdict, label = checked.verdict, checked.master.label
    head = Text.assemble(
        (label, "bold"), "  ", ("PASS", "bold green") if verdict.ok else ("FAIL", "bold red")
    )
    parts: list[RenderableType] = [head]
    if verdict.printed.strip():
        lines = verdict.printed.splitlines()
        shown = [one_line(line) for line in lines[:_PRINTED]]
        if len(lines) > _PRINTED:
            shown.append(f"… {len(lines) - _PRINTED} more lines")
        parts += [Text("it printed", style="dim"), _indented(*shown)]
    if not verdict.ok:
        parts.append(Text(one_line(verdict.headline), style="bold"))
        parts.append(_indented(*(one_line(line) for line in verdict.evidence)))
        if checked.example:
            parts += [Text("its example", style="dim"), _indented(*_plain(checked.example))]
        if verdict.question:
            parts.append(Text(verdict.question, style="cyan"))
        parts.append(Text(f"A hint: eyeline practice hint {checked.master.number}", style="dim"))
    return Group(*parts)


def render_shown(checked: Checked) -> RenderableType:
    """The code at work in a model."""
    parts: list[RenderableType] = []
    if checked.shown is not None:
        parts += [
            Text(""),
            Text(checked.shown.title, style="bold"),
            _indented(*checked.shown.lines),
        ]
        if checked.shown.delta is not None:
            delta = (
                f"largest difference from the model's own computation: {checked.shown.delta:.1g}"
            )
            parts.append(Padding(Text(delta, style="dim"), (0, 0, 0, 2)))
    if checked.note:
        parts.append(Text(one_line(checked.note), style="yellow"))
    return Group(*parts)


def render_list(done: Mapping[str, Done]) -> RenderableType:
    """All exercises, and how far one is."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("", "exercise", "what", "difficulty", "minutes"):
        table.add_column(column)
    passed = 0
    for one in masters():
        state = done.get(one.name, Done())
        passed += state.passed_at is not None
        mark = Text("✓", style="green") if state.passed_at else Text("·", style="dim")
        exercise = one.exercise
        stars = "●" * exercise.difficulty + "○" * (3 - exercise.difficulty)
        table.add_row(mark, one.label, exercise.title, stars, str(exercise.minutes))
    return Group(table, Text(f"{passed} of {len(masters())} passed."))


def render_story(master: Master, path: str) -> RenderableType:
    """What the next exercise is about, and where its file is."""
    exercise = master.exercise
    return Group(
        Text(f"{master.number}. {exercise.title}", style="bold"),
        Text(exercise.story.strip()),
        Text(""),
        Text(f"Difficulty {exercise.difficulty} of 3, about {exercise.minutes} minutes."),
        Text(f"Open   {path}", style="cyan"),
        Text(f"Check  eyeline practice run {master.number}", style="cyan"),
        Text("or let it be checked whenever you save:  eyeline practice watch", style="dim"),
    )


def _plain(text: str) -> list[str]:
    """Lines without anything that a terminal would obey, indentation kept."""
    return [
        "".join(char if char.isprintable() else "?" for char in line) for line in text.splitlines()
    ]


def _indented(*lines: str) -> RenderableType:
    return Padding(Group(*(Text(line) for line in lines)), (0, 0, 0, 2))
