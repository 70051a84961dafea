"""A training run in the terminal: a bar with loss, speed and time left; the table at the end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from eyeline.view import terminal

if TYPE_CHECKING:
    from eyeline.train import Result, Run

__all__ = ["progress", "show_results"]


@contextmanager
def progress() -> Iterator[Callable[["Run"], None]]:
    """What to call after every step; a line for each look at held-out data stays."""
    err = terminal.console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=err,
    )
    task = bar.add_task("", total=None, state="")
    seen = 0

    def report(run: "Run") -> None:
        nonlocal seen
        state = f"loss {run.loss:.3f}, {run.speed:,.0f} tokens/s"
        if err.is_terminal:
            if not bar.live.is_started:
                bar.start()
            bar.update(
                task,
                description=run.recipe.name,
                completed=run.step,
                total=run.recipe.settings.steps,
                state=state,
            )
        if len(run.checks) > seen:
            seen = len(run.checks)
            found = ", ".join(f"{n} {v:.4g}" for n, v in run.checks[-1].items() if n != "step")
            bar.console.print(f"{run.recipe.name} step {run.step}: {state}; held out: {found}")

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()


def show_results(name: str, results: Sequence["Result"], folder: Path) -> None:
    """The table, and how to look with the model."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("", "", ""):
        table.add_column(column)
    for result in results:
        table.add_row(result.what, f"{result.value:.3g} {result.unit}", result.note)
    terminal.show(table)
    terminal.show(f'the model is in {folder}: eyeline look "…" --model {folder}')
