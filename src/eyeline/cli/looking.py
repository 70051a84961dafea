"""`eyeline look`, `steps`, `heads`, `compare`: a text, in the terminal."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeline.cli._shared import (
    HeadOption,
    JsonOption,
    KindOption,
    LayerOption,
    ModelOption,
    TargetOption,
    TextArgument,
    TokenOption,
    TruncateOption,
    about,
    look_data,
    print_json,
    read_text,
    status,
    to_json,
)

if TYPE_CHECKING:
    from eyeline.readings import Reading

__all__ = ["compare", "heads", "look", "steps"]


def look(
    text: TextArgument,
    model: ModelOption = None,
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
    reading = read_text(text, model, target, layers, truncate)
    chosen = kind or _most_telling(reading, token)
    options: dict[str, Any] = {"layer": layer, "head": head, "kind": chosen, "hide_sink": hide_sink}
    if token is not None:
        seen = reading.look(token, **options)
        if as_json:
            return print_json(reading, seen.to_dict())
        return terminal.show(terminal.render_look(reading, seen, top))
    reading.maps(chosen)  # an unknown kind is an error before any row is made
    looks = [reading.look(t.index, **options) for t in reading.query_tokens(chosen)]
    if as_json:
        return print_json(reading, {"looks": [one.to_dict() for one in looks]})
    return terminal.show(terminal.render_overview(reading, looks))


def _most_telling(reading: "Reading", token: str | None) -> str:
    """What an encoder–decoder writes from what it reads, unless only the text has that token."""
    from eyeline.tokens import TokenNotFound, find_token

    if "cross" not in reading.kinds:
        return reading.default_kind
    writes = reading.query_tokens("cross")
    if token is None or token in (t.label for t in writes):
        return "cross"
    if token in (t.label for t in reading.tokens):  # a letter, not the sound of that name
        return reading.default_kind
    try:
        find_token(writes, token)
    except TokenNotFound:
        try:
            find_token(reading.tokens, token)
        except TokenNotFound as error:
            written = " ".join(list(dict.fromkeys(t.label for t in writes))[:12])
            raise TokenNotFound(f"{error}; nor has what the model writes: {written}") from None
        return reading.default_kind
    return "cross"


def steps(
    text: TextArgument,
    layer: Annotated[int, typer.Option(help="The layer, from 0.")],
    head: Annotated[int, typer.Option(help="The head, from 0.")],
    token: Annotated[str, typer.Option("--token", "-t", help="The token that looks.")],
    model: ModelOption = None,
    kind: KindOption = None,
    target: TargetOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many keys to show.")] = 14,
    truncate: TruncateOption = False,
    as_json: JsonOption = False,
) -> None:
    """How is that number made? Every step of one head for one token, checked against the model."""
    from eyeline.view import terminal

    reading = read_text(text, model, target, [layer], truncate)
    with status("computing the steps"):
        made = reading.steps(layer, head, token, kind=kind)
    if as_json:
        return print_json(reading, made.to_dict())
    return terminal.show(terminal.render_steps(reading, made, top))


def heads(
    text: Annotated[
        str, typer.Argument(help="The text to judge by; one that repeats itself shows induction.")
    ] = "The cat sat on the mat. The dog saw that the cat sat on the mat, and the dog barked.",
    model: ModelOption = None,
    kind: KindOption = None,
    target: TargetOption = None,
    truncate: TruncateOption = False,
    as_json: JsonOption = False,
) -> None:
    """What kind of head is each? With its evidence, and "unsure" as an answer."""
    from eyeline.view import terminal

    reading = read_text(text, model, target, None, truncate)
    reports = reading.heads(kind)
    if as_json:
        return print_json(reading, {"heads": [r.to_dict() for r in reports]})
    return terminal.show(terminal.render_heads(reading, reports))


def compare(
    text: TextArgument,
    models: Annotated[
        str, typer.Option("--models", "-m", help="Two or more models, with commas between.")
    ] = "tiny-bert,tiny-gpt",
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
        raise EyelineError("name at least one model: --models tiny-bert,tiny-gpt")
    text = sys.stdin.read() if text == "-" else text
    readings, sights, looks = [], [], []
    for name in names:
        reading = read_text(text, name, None, None, truncate)
        try:
            sights.append(reading.sight(kind))
            looks += [] if token is None else [reading.look(token, kind=kind)]
        except EyelineError as error:
            raise EyelineError(f"{name}: {error}") from None
        readings.append(reading)
    if as_json:
        chosen = looks or [None] * len(sights)
        shown = zip(readings, sights, chosen, strict=True)
        parts = [about(r) | s.to_dict() | look_data(one) for r, s, one in shown]
        return typer.echo(to_json({"text": readings[0].text, "models": parts}))
    return terminal.show(render_compare(readings, sights, looks or None))
