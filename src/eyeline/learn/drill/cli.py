"""`eyeline drill`: predict, run, compare; list, show, code."""

import json
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from eyeline.learn.drill.grading import Outcome
    from eyeline.learn.drill.progress import DrillProgress
    from eyeline.learn.drill.question import Question

__all__ = ["drill"]

drill = typer.Typer(
    help="Interview questions about attention: predict, run, compare.",
    invoke_without_command=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one line for each answer.")]
NumberArgument = Annotated[int, typer.Argument(help="Number of the question.")]
_QUIT = ("q", "quit", "exit")


@drill.callback()
def ask(
    context: typer.Context,
    question: Annotated[int | None, typer.Option("--question", "-q", help="This one only.")] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", "-a", help="The answer, without being asked.")
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(help="why, core, masks, heads, positions, families, serving, coding"),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many questions.")] = 5,
    mock: Annotated[
        int | None, typer.Option(help="A timed interview of so many questions, with a report.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="For --mock; default: one for each question.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="For --mock: the same questions again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask what is due, then what is new. An answer is a letter or a number; ? shows it, q ends."""
    if context.invoked_subcommand is not None:
        return
    from eyeline._errors import EyelineError
    from eyeline.learn.drill.progress import DrillProgress

    _one_thread()
    progress = DrillProgress()
    if mock is not None:
        if answer is not None or question is not None or topic is not None:
            raise EyelineError(
                "--mock asks from all topics: leave out --question, --answer, --topic"
            )
        return _interview(progress, mock, minutes, seed, as_json)
    if answer is not None:
        if question is None:
            raise EyelineError("--answer needs --question: which one does it answer?")
        from eyeline.learn.drill.questions import find_question

        outcome = _settle(progress, find_question(question), answer, 0.0)
        _tell(progress, outcome, as_json)
        raise typer.Exit(0 if outcome.right else 1)
    return _session(progress, question, topic, count, as_json)


@drill.command("list")
def list_(as_json: JsonOption = False) -> None:
    """All questions, how they were answered, and when they are due."""
    from eyeline.learn.drill.progress import DrillProgress
    from eyeline.learn.drill.questions import TOPICS, questions
    from eyeline.learn.drill.showing import render_list
    from eyeline.learn.printing import show as print_out

    answered = DrillProgress().answered()
    if not as_json:
        return print_out(render_list(answered))
    for topic in TOPICS:
        for one in questions(topic):
            state = answered.get(one.number)
            row = {"number": one.number, "topic": topic, "ask": one.ask}
            row |= {"asked": state.asked if state else 0, "right": state.right if state else 0}
            row |= {"due": state.due.isoformat() if state else None}
            typer.echo(json.dumps(row, ensure_ascii=False))


@drill.command()
def show(number: NumberArgument, as_json: JsonOption = False) -> None:
    """A question without its answer."""
    from eyeline.learn.drill.grading import in_order
    from eyeline.learn.drill.progress import DrillProgress
    from eyeline.learn.drill.questions import find_question
    from eyeline.learn.drill.showing import render_question
    from eyeline.learn.printing import show as print_out

    question = find_question(number)
    asked = DrillProgress().asked(number)
    if not as_json:
        return print_out(render_question(question, asked))
    options = zip("abcdefgh", in_order(question, asked), strict=False)
    data = {
        "number": number,
        "ask": question.ask,
        "options": {letter: one.text for letter, one in options},
        "unit": question.unit,
        "within": question.within if question.is_number else None,
    }
    typer.echo(json.dumps(data, ensure_ascii=False))


@drill.command()
def code(number: NumberArgument) -> None:
    """The code that computes a question's answer."""
    from eyeline._errors import EyelineError
    from eyeline.learn.drill.questions import find_question
    from eyeline.learn.drill.sources import source_of

    question = find_question(number)
    if question.demo is None:
        raise EyelineError(f"question {number} has no computation: it is about ideas")
    typer.echo(source_of(question.demo), nl=False)


def _session(
    progress: "DrillProgress", number: int | None, topic: str | None, count: int, as_json: bool
) -> None:
    from eyeline.learn.drill.questions import find_question, questions

    if number is not None:
        find_question(number)
    numbers = [number] if number is not None else [one.number for one in questions(topic)]
    for _ in range(1 if number is not None else count):
        found = number if number is not None else progress.upcoming(numbers)
        if found is None:
            if not as_json:
                typer.echo(_nothing_due(progress, numbers))
            return
        answered = _put(progress, find_question(found), quiet=as_json)
        if answered is None:
            return
        _tell(progress, _settle(progress, *answered), as_json)


def _nothing_due(progress: "DrillProgress", numbers: list[int]) -> str:
    from eyeline.learn.drill.showing import when

    known = progress.answered()
    first = min(known[n].due for n in numbers)
    return f"Nothing is due. The next question comes {when(first, datetime.now(UTC))}."


def _put(
    progress: "DrillProgress", question: "Question", quiet: bool
) -> "tuple[Question, str, float] | None":
    """Ask until there is an answer that can be read; None at the end of the input."""
    from eyeline._errors import EyelineError
    from eyeline.learn.drill.grading import GAVE_UP, read_answer
    from eyeline.learn.drill.showing import render_question
    from eyeline.learn.printing import show as print_out

    if not quiet:
        print_out(render_question(question, progress.asked(question.number)))
    began = time.monotonic()
    for line in _lines(quiet):
        if line.lower() in _QUIT:
            return None
        try:
            if line != GAVE_UP:
                read_answer(question, line)
        except EyelineError as error:
            if not sys.stdin.isatty():
                raise
            typer.echo(str(error), err=True)
            continue
        return question, line, time.monotonic() - began
    return None


def _lines(quiet: bool) -> Iterator[str]:
    """Lines that are not empty, from a person or from a pipe."""
    while True:
        if not quiet:
            typer.echo("> ", nl=False)
        line = sys.stdin.readline()
        if not line:
            if not quiet:
                typer.echo()
            return
        if line.strip():
            if not quiet and not sys.stdin.isatty():
                typer.echo(line.strip())
            yield line.strip()


def _settle(
    progress: "DrillProgress", question: "Question", answer: str, seconds: float
) -> "Outcome":
    from eyeline.learn.drill.grading import grade

    outcome = grade(question, answer, progress.asked(question.number))
    if outcome.borne_out:
        progress.record(question.number, outcome.answer, outcome.right, seconds)
    return outcome


def _tell(progress: "DrillProgress", outcome: "Outcome", as_json: bool) -> None:
    from eyeline.learn.drill.showing import render_outcome, when
    from eyeline.learn.printing import show as print_out

    state = progress.answered().get(outcome.question.number)
    if as_json:
        due = None if state is None else state.due.isoformat()
        typer.echo(json.dumps(outcome.to_dict() | {"due": due}, ensure_ascii=False))
    else:
        print_out(render_outcome(outcome))
        if state is not None:
            typer.echo(f"Saved; asked again {when(state.due, datetime.now(UTC))}.\n")
    sys.stdout.flush()


def _interview(
    progress: "DrillProgress", count: int, minutes: float | None, seed: int | None, as_json: bool
) -> None:
    from eyeline._errors import EyelineError
    from eyeline.learn.drill.grading import grade
    from eyeline.learn.drill.mock import Answer, Report, choose
    from eyeline.learn.drill.showing import render_report
    from eyeline.learn.printing import show as print_out

    chosen = choose(count, seed)
    limit = 60 * (count if minutes is None else minutes)
    if not math.isfinite(limit):
        raise EyelineError(f"--minutes {minutes}: give a number of minutes")
    if not as_json:
        typer.echo(f"{count} questions, {limit / 60:g} minutes. ? passes, q ends. Go.\n")
    began, answers = time.monotonic(), []
    for topic, question in chosen:
        if time.monotonic() - began > limit:
            break
        put = _put(progress, question, quiet=as_json)
        if put is None:
            break
        _, given, seconds = put
        in_time = time.monotonic() - began <= limit
        outcome = grade(question, given, progress.asked(question.number))
        if outcome.borne_out:
            progress.record(question.number, outcome.answer, outcome.right, seconds, "mock")
        answers.append(Answer(topic, outcome, seconds, in_time))
    report = Report(answers, count, time.monotonic() - began, limit)
    if as_json:
        return typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    typer.echo()
    return print_out(render_report(report))


def _one_thread() -> None:
    """Tiny tensors are slowed down by more threads than one."""
    import torch

    torch.set_num_threads(1)
