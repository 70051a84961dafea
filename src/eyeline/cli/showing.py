"""`eyeline open` and `export`: a text in the browser, in a file."""

import os
import sys
from typing import Annotated

import typer

from eyeline.cli._shared import (
    HeadOption,
    KindOption,
    LayerOption,
    ModelOption,
    TargetOption,
    TokenOption,
    TruncateOption,
    progress,
    read_text,
    require_text,
    status,
)

__all__ = ["export_", "open_"]


def open_(
    text: Annotated[
        str | None,
        typer.Argument(help="A text, or a file that holds one; '-' reads it from stdin."),
    ] = None,
    model: ModelOption = None,
    target: TargetOption = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser, or print the link.")
    ] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 0,
    truncate: TruncateOption = False,
    beyond_limit: Annotated[
        bool,
        typer.Option(
            "--beyond-limit", help="Rotary models: read beyond the length that was trained for."
        ),
    ] = False,
    classroom: Annotated[
        bool,
        typer.Option("--class", help="Serve students on your network, who join with a code."),
    ] = False,
) -> None:
    """See it in the browser: a page on this machine, for you alone, without the network."""
    import webbrowser

    from eyeline.view.opening import text_or_file

    if text is not None:
        text = text_or_file(text, sys.stdin)
        require_text(text)
    with status("starting"):
        from eyeline.models.built_in import DEFAULT
        from eyeline.server import Classroom, Opened, Server, Shelf

        model = model or DEFAULT

        shelf = Shelf(Opened(text, model, target, truncate, beyond_limit))
        server = Server(shelf, port, Classroom() if classroom else None)

    def started() -> None:
        typer.echo(f"eyeline is at {server.link}")
        if server.classroom is not None:
            typer.echo(f"Students: {server.class_link}  code {server.classroom.code}")
            typer.echo("Plain HTTP: for a network that you trust.", err=True)
        typer.echo("Ctrl-C ends it.", err=True)
        if browser:
            webbrowser.open(server.link)

    # the thread that answers waits at most so long for those that compute (the default is 5 ms)
    sys.setswitchinterval(0.001)
    try:
        with progress() as report, status(f"opening {model}"):
            shelf.model(model, report)
        server.run(started)
    finally:
        server.close()
    sys.stdout.flush()
    # nothing is left to save, and threads that are in the middle of a matrix product cannot be told
    # to end: the interpreter would wait for them, or fall over them
    os._exit(0)


def export_(
    text: Annotated[str, typer.Argument(help="A text, or a file that holds one.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="page.html, .svg, .png, .npz, .json or .csv")
    ],
    model: ModelOption = None,
    token: TokenOption = None,
    layer: LayerOption = None,
    head: HeadOption = None,
    kind: KindOption = None,
    target: TargetOption = None,
    hide_sink: Annotated[
        bool, typer.Option("--hide-sink", help="Leave the first token out and renormalise.")
    ] = False,
    truncate: TruncateOption = False,
) -> None:
    """Write what is shown to a file: a page to send, a figure with its caption, or the numbers."""
    from pathlib import Path

    from eyeline._errors import EyelineError
    from eyeline.view.opening import text_or_file

    suffix = Path(output).suffix.lower()
    known = (".html", ".svg", ".png", ".npz", ".json", ".csv")
    if suffix not in known:  # before a model is opened for nothing
        raise EyelineError(f"-o {output}: the ending says what is written: {', '.join(known)}")
    reading = read_text(text_or_file(text, sys.stdin), model, target, None, truncate)
    with status("writing"):
        from eyeline.view.exporting import Shown, write_export

        path = write_export(reading, output, Shown(token, layer, head, kind, hide_sink))
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
