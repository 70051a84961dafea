"""`eyeline check`: is this attention right, and if not, which mistake is it?"""

from typing import Annotated

import typer

from eyeline.cli._shared import JsonOption, to_json

__all__ = ["check"]


def check(
    target: Annotated[str, typer.Argument(metavar="FILE.py:NAME", help="What to check.")],
    what: Annotated[
        str | None,
        typer.Option(help="What it computes, where its name and parameters do not say it."),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="BHLD, BLHD, BLD or LD.")] = None,
    mask: Annotated[str | None, typer.Option(help="attend, ignore, add or ones.")] = None,
    causal: Annotated[str | None, typer.Option(help="yes, no, top-left or bottom-right.")] = None,
    num_heads: Annotated[int | None, typer.Option(help="Of a module that does not say.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long one call may take.")] = 20.0,
    as_json: JsonOption = False,
) -> None:
    """Is this attention right, and if not, which mistake is it? Exit code 0 right, 1 wrong."""
    from eyeline.doctor.files import check_file
    from eyeline.view import terminal
    from eyeline.view.diagnosis import render_diagnosis

    diagnosis = check_file(
        target,
        what,
        layout=layout,
        mask=mask,
        causal=causal,
        num_heads=num_heads,
        seconds=seconds,
    )
    if as_json:
        typer.echo(to_json(diagnosis.to_dict()))
    else:
        terminal.show(render_diagnosis(diagnosis))
    raise typer.Exit(0 if diagnosis.ok else 1)
