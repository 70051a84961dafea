"""`eyeline practice`: list, next, run, watch, hint, solution, reset, doctor."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from eyeline.learn.master import Master
    from eyeline.learn.practice.checking import Checked
    from eyeline.learn.practice.workspace import Workspace
    from eyeline.learn.sandbox import Sandbox

__all__ = ["practice"]

practice = typer.Typer(
    help="Write attention yourself: 28 exercises, from a dot product to GPT-2.",
    no_args_is_help=True,
)

NameArgument = Annotated[
    str | None, typer.Argument(help="Number, name or file; default: the first that has not passed.")
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", "-f", help="Your folder; default: EYELINE_PRACTICE, or ./practice."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@practice.command("list")
def list_(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """All exercises, and which have passed."""
    from eyeline.learn.master import masters
    from eyeline.learn.practice.showing import render_list
    from eyeline.learn.printing import show

    workspace = _workspace(folder)
    done = workspace.progress.done() if workspace.folder.exists() else {}
    if as_json:
        rows = [
            {
                "number": one.number,
                "name": one.name,
                "title": one.exercise.title,
                "difficulty": one.exercise.difficulty,
                "minutes": one.exercise.minutes,
                "file": str(workspace.file(one)),
                "passed_at": done[one.name].passed_at if one.name in done else None,
            }
            for one in masters()
        ]
        return typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    return show(render_list(done))


@practice.command("next")
def next_(folder: FolderOption = None) -> None:
    """What to do next; the first time, this writes the exercises' files."""
    from eyeline.learn.practice.showing import render_story
    from eyeline.learn.printing import show

    workspace = _prepared(folder)
    upcoming = workspace.upcoming()
    if upcoming is None:
        return typer.echo(
            "All 28 exercises have passed. `eyeline drill` asks questions about them."
        )
    return show(render_story(upcoming, str(workspace.file(upcoming))))


@practice.command()
def run(
    name: NameArgument = None, folder: FolderOption = None, as_json: JsonOption = False
) -> None:
    """Check an exercise; exit status 1 if it is not right yet."""
    box = _new_box()  # it imports torch while we do
    try:
        workspace = _prepared(folder, quiet=as_json)
        master = _chosen(workspace, name)
        _say_once_what_is_protected(workspace, box, as_json)
        checked = _check(workspace, master, box, as_json)
    finally:
        box.close()
    if as_json:
        typer.echo(json.dumps(checked.to_dict(), indent=2, ensure_ascii=False))
    raise typer.Exit(0 if checked.verdict.ok else 1)


@practice.command()
def watch(folder: FolderOption = None) -> None:
    """Check each file whenever you save it; Ctrl-C ends it."""
    from eyeline.learn.practice.watching import saved

    workspace = _prepared(folder)
    box = _new_box()
    try:
        _say_once_what_is_protected(workspace, box, False)
        _warm_up()
        box.start()
        typer.echo(f"Watching {workspace.folder}; Ctrl-C ends it.")
        for master in saved(workspace):
            _check(workspace, master, box, False)
            box = _new_box()  # the next one starts while the learner thinks
    finally:
        box.close()


@practice.command()
def hint(name: NameArgument = None, folder: FolderOption = None) -> None:
    """One hint; asked again, the next one. There are three."""
    workspace = _prepared(folder)
    master = _chosen(workspace, name)
    done = workspace.progress.done().get(master.name)
    seen = 0 if done is None else done.hints
    hints = master.exercise.hints
    count = min(seen + 1, len(hints))
    workspace.progress.hinted(master.name, count)
    for number, text in enumerate(hints[:count], start=1):
        typer.echo(f"{master.label}, hint {number} of {len(hints)}: {text}")
    if count == len(hints):
        typer.echo(f"That was the last. eyeline practice solution {master.number} --give-up")


@practice.command()
def solution(
    name: NameArgument = None,
    folder: FolderOption = None,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Show it although yours has not passed.")
    ] = False,
) -> None:
    """A solution to compare with: after yours has passed, or with --give-up."""
    from eyeline._errors import EyelineError

    workspace = _prepared(folder)
    master = _chosen(workspace, name)
    done = workspace.progress.done().get(master.name)
    if done is None or done.passed_at is None:
        if not give_up:
            raise EyelineError(
                f"{master.label} has not passed yet: eyeline practice hint {master.number} gives a "
                "hint, --give-up shows the solution"
            )
        workspace.progress.gave_up(master.name)
    typer.echo(master.solution(), nl=False)


@practice.command()
def reset(
    name: Annotated[str, typer.Argument(help="Number, name or file.")], folder: FolderOption = None
) -> None:
    """Bring a file back as it was at first; yours is kept in backups/."""
    workspace = _prepared(folder)
    master = _chosen(workspace, name)
    backup = workspace.reset(master)
    kept = "" if backup is None else f" Yours is in {backup}"
    typer.echo(f"{workspace.file(master)} is as it was at first.{kept}")


@practice.command()
def doctor(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """Is everything in place? The folder, the protection, the model, and how fast it is."""
    import time

    began = time.perf_counter()
    workspace = _prepared(folder, quiet=as_json)
    box = _new_box()
    with box:
        protection = box.start()
        started = time.perf_counter() - began
        from eyeline.learn.rewards.subject import subject

        model = subject().name
    done = workspace.progress.done()
    facts: dict[str, Any] = {
        "folder": str(workspace.folder),
        "passed": sum(one.passed_at is not None for one in done.values()),
        "python": sys.version.split()[0],
        "protection": list(protection.layers),
        "model": model,
        "seconds to start": round(started, 2),
    }
    if as_json:
        return typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    for key, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        typer.echo(f"{key:17} {shown}")
    for sentence in protection.sentences():
        typer.echo(sentence)
    if "random" in model:
        typer.echo("eyeline models get minilm: then your code runs in a real model.")


def _workspace(folder: Path | None) -> "Workspace":
    from eyeline.learn.practice.workspace import Workspace

    return Workspace(folder)


def _prepared(folder: Path | None, quiet: bool = False) -> "Workspace":
    workspace = _workspace(folder)
    written = workspace.prepare()
    if written and not quiet:
        typer.echo(f"{len(written)} exercises are in {workspace.folder}", err=True)
    return workspace


def _chosen(workspace: "Workspace", name: str | None) -> "Master":
    from eyeline.learn.master import find, masters

    if name is not None:
        return find(name)
    return workspace.upcoming() or masters()[-1]


def _new_box() -> "Sandbox":
    from eyeline.learn.master import FOLDER
    from eyeline.learn.sandbox import Sandbox

    return Sandbox(hidden=[FOLDER])


def _warm_up() -> None:
    """Import what a check needs, once; tiny tensors are slowed down by more threads than one."""
    import torch

    from eyeline.learn.judging import judge  # noqa: F401
    from eyeline.learn.rewards.subject import subject

    torch.set_num_threads(1)
    subject()


def _check(workspace: "Workspace", master: "Master", box: "Sandbox", quiet: bool) -> "Checked":
    """Check, and show the verdict at once, then the code at work."""
    import torch

    from eyeline.learn.practice.checking import Checked, check
    from eyeline.learn.practice.showing import render_shown, render_verdict
    from eyeline.learn.printing import show

    def judged(checked: Checked) -> None:
        if not quiet:
            show(render_verdict(checked))

    torch.set_num_threads(1)  # tiny tensors are slowed down by more
    checked = check(workspace, master, box, judged)
    if not quiet:
        show(render_shown(checked))
        if checked.verdict.ok:
            upcoming = workspace.upcoming()
            then = "All 28 exercises have passed: eyeline drill asks questions about them."
            if upcoming is not None:
                then = f"Next: {upcoming.label}    eyeline practice next"
            typer.echo(f"\n{then}")
    sys.stdout.flush()
    return checked


def _say_once_what_is_protected(workspace: "Workspace", box: "Sandbox", quiet: bool) -> None:
    if workspace.progress.first_time("protection"):
        for sentence in box.start().sentences():
            typer.echo(sentence, err=quiet)
