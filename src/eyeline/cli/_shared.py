"""What the commands share: their options, how they read a text, and how they print."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from eyeline.looks import Look
    from eyeline.readings import Reading

_CONTROLS = re.compile("[\x7f-\x9f]")

TextArgument = Annotated[str, typer.Argument(help="The text; '-' reads it from standard input.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="tiny-bert (default), tiny-gpt, g2p, minilm, smollm2, a folder, a .safetensors or "
        ".gguf file, or a Hub id.",
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


def read_text(
    text: str, model: str | None, target: str | None, layers: list[int] | None, truncate: bool
) -> "Reading":
    from eyeline.models.built_in import DEFAULT, MORE

    if text == "-":
        text = sys.stdin.read()
    require_text(text)
    with progress() as report, status(f"opening {model or DEFAULT}"):
        from eyeline.readings import load, read

        loaded = load(model or DEFAULT, report)
    if model is None:
        typer.echo(f"Read by {DEFAULT}, built in. --model {MORE} shows more of English.", err=True)
    with status("reading"):
        return read(text, loaded, target=target, layers=layers, truncate=truncate)


def require_text(text: str) -> None:
    """Before a model is opened for nothing."""
    from eyeline._errors import EyelineError

    if not text.strip():
        raise EyelineError("the text is empty: give at least one word")


def look_data(look: "Look | None") -> dict[str, Any]:
    return {} if look is None else {"look": look.to_dict()}


def print_json(reading: "Reading", data: dict[str, Any]) -> None:
    typer.echo(to_json({"text": reading.text} | about(reading) | data))


def about(reading: "Reading") -> dict[str, Any]:
    return {
        "model": reading.model,
        "source": reading.source,
        "tokens": [t.label for t in reading.tokens],
        "target_tokens": [t.label for t in reading.target_tokens],
        "predictions": [p.to_dict() for p in reading.predictions if p.kind != "embedding"],
    }


def to_json(data: Any) -> str:
    """Readable JSON: letters stay as they are, but no character that a terminal obeys.

    JSON itself wants U+0000 to U+001F escaped; U+007F to U+009F are controls as well, and C1
    (U+009B above all) begins the same sequences as an escape character.
    """
    written = json.dumps(data, ensure_ascii=False, indent=2)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


@contextmanager
def status(what: str) -> Iterator[None]:
    """A spinner on stderr, where somebody watches."""
    from eyeline.view import terminal

    err = terminal.console(stderr=True)
    if not err.is_terminal or os.environ.get("TERM") == "dumb":
        yield
        return
    with err.status(what):
        yield


@contextmanager
def progress() -> Iterator[Any]:
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
