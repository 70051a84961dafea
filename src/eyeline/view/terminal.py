"""A reading in the terminal: sentences, tables and numbers. Rich draws, nothing is computed."""

from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from eyeline.heads import KINDS, HeadReport
from eyeline.looks import Look
from eyeline.predictions import Prediction
from eyeline.readings import Reading
from eyeline.steps import Stage, Steps, Verification
from eyeline.tokens import name_of

__all__ = [
    "console",
    "render_heads",
    "render_look",
    "render_overview",
    "render_steps",
    "show",
    "to_text",
]

_BAR = 24
_PLAIN_WIDTH = 110
"""Columns when nobody watches: a pipe has no width of its own."""


def console(*, stderr: bool = False) -> Console:
    """A console that is plain when piped and honours NO_COLOR and COLUMNS."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal and "COLUMNS" not in made._environ:
        made.width = _PLAIN_WIDTH
    return made


def show(renderable: RenderableType) -> None:
    """Print to standard output: with colours where somebody watches, else as plain text."""
    out = console()
    if out.is_terminal:
        out.print(renderable)
    else:
        print(to_text(renderable, out.width), end="")


def to_text(renderable: RenderableType, width: int = _PLAIN_WIDTH) -> str:
    """What a console of that width would print, without colours."""
    out = StringIO()
    Console(file=out, width=width, no_color=True, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def render_look(reading: Reading, look: Look, count: int = 10) -> RenderableType:
    """What a token looks at: the sentence, then the numbers, largest first."""
    parts: list[RenderableType] = [_sentence(look), Text(_where(reading, look), style="dim")]
    if look.hidden is not None:
        first = look.keys[0].label
        parts.append(
            Text(
                f"{first} is hidden: it held {100 * look.hidden:.0f} % of the weight; "
                "the rest is scaled up to 100 %",
                style="dim",
            )
        )
    if look.is_one_head:
        parts += [Text(""), _one_head(look, count)]
    else:
        parts += [Text(""), _strongest(look, count), Text(""), _by_token(look, count)]
    best = look.edges(1)
    if best:
        kind = "" if look.kind == reading.default_kind else f" --kind {look.kind}"
        parts += [
            Text(""),
            Text(
                f"The arithmetic behind a number: eyeline steps … --layer {best[0].layer} "
                f"--head {best[0].head} --token '{_named(reading, look)}'{kind}",
                style="dim",
            ),
        ]
    return Group(*parts)


def render_overview(reading: Reading, looks: Iterable[Look]) -> RenderableType:
    """Every token's sentence, and what the model says next."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column()
    for look in looks:
        written = reading.target_tokens[look.query.index + 1 :] if look.kind == "cross" else []
        then = f" Then: {written[0].label}" if written else ""
        table.add_row(str(look.query.index), Text(look.sentence() + then))
    parts: list[RenderableType] = [Text(_about(reading), style="dim"), Text(""), table]
    if said := _predictions(reading.predictions):
        parts += [Text(""), said]
    parts += [Text(""), Text("One token in full: add --token TEXT", style="dim")]
    return Group(*parts)


def render_heads(reading: Reading, reports: Sequence[HeadReport]) -> RenderableType:
    """The census: one row per head with its label and evidence, then what the labels mean."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name, justify in (("layer", "right"), ("head", "right"), ("kind", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("evidence")
    table.add_column("entropy, nats", justify="right")
    for report in reports:
        style = "dim" if report.label == "unsure" else ""
        table.add_row(
            str(report.layer),
            str(report.head),
            report.label,
            report.evidence,
            f"{report.entropy:.2f}",
            style=style,
        )
    kinds = Table(box=None, show_header=False, padding=(0, 1))
    for kind, meaning in KINDS.items():
        kinds.add_row(kind, Text(meaning, style="dim"))
    note = Text("Scores are of this text: they say what a head does here.", style="dim")
    return Group(Text(_about(reading), style="dim"), Text(""), table, Text(""), kinds, note)


def render_steps(reading: Reading, steps: Steps, count: int = 14) -> RenderableType:
    """Every stage with its formula and its numbers, and how far it is from the model."""
    where = f"layer {steps.layer}, head {steps.head}, {steps.kind}"
    parts: list[RenderableType] = [
        Text.assemble((f"{steps.query.label}", "bold"), f" (token {steps.query.index}) in {where}"),
        Text(_about(reading), style="dim"),
    ]
    weights = steps["weights"].values
    order = weights.argsort(descending=True, stable=True).tolist()
    chosen = sorted(order[:count])
    for number, stage in enumerate(steps.stages, start=1):
        parts += [Text(""), _stage(number, stage, steps, chosen)]
        if stage.name == "weights":  # the last of the numbers per key: all of them in one table
            parts += [Padding(_per_key(steps, chosen, order), (0, 0, 0, 4))]
    parts += [Text(f"Note: {note}") for note in steps.notes]
    parts += [Text(""), *_verification(steps.verify())]
    return Group(*parts)


def _verification(check: Verification) -> list[RenderableType]:
    """How far from the model: absolute, and as a share of each stage's largest number."""
    stages = ", ".join(
        f"{name} {delta:.0e} ({check.relative_by_stage[name]:.0e})"
        for name, delta in check.by_stage.items()
    )
    verdict = "the model's rounding"
    if not check.ok:
        verdict = f"MORE THAN ROUNDING in {', '.join(check.beyond_rounding)}"
    return [
        Text.assemble(
            (f"max |Δ| between these steps and the model: {check.max_delta:.1e}", "bold"),
            (f", relative {check.max_relative:.1e}: ", "bold"),
            (verdict, "bold" if check.ok else "bold red"),
        ),
        Text(f"by stage, |Δ| (÷ largest |y|): {stages}", style="dim"),
    ]


def _sentence(look: Look) -> Text:
    text = Text(look.sentence())
    text.stylize("bold", 0, len(look.query.label))
    return text


def _named(reading: Reading, look: Look) -> str:
    """How to ask for the token that looks."""
    by = look.direction == "by"
    tokens = reading.key_tokens(look.kind) if by else reading.query_tokens(look.kind)
    return name_of(tokens, look.query)


def _where(reading: Reading, look: Look) -> str:
    layers = f"layer {look.layers[0]}" if len(look.layers) == 1 else f"{len(look.layers)} layers"
    heads = f"head {look.heads[0]}" if len(look.heads) == 1 else f"{len(look.heads)} heads"
    return f"{reading.model}, {look.kind}: {layers}, {heads}, {len(look.keys)} tokens looked at"


def _about(reading: Reading) -> str:
    return f"{reading.model} ({reading.source}), {len(reading.tokens)} tokens"


def _one_head(look: Look, count: int) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("token")
    table.add_column("#", justify="right", style="dim")
    table.add_column("weight", justify="right")
    table.add_column("", min_width=_BAR)
    shares = look.shares()
    for share in shares[:count]:
        table.add_row(
            Text(share.key.label), str(share.key.index), f"{share.mean:.4f}", _bar(share.mean)
        )
    if len(shares) > count:
        rest = sum(s.mean for s in shares[count:])
        table.add_row(Text(f"{len(shares) - count} more", style="dim"), "", f"{rest:.4f}", "")
    return table


def _strongest(look: Look, count: int) -> RenderableType:
    title = Text("Strongest single looks (special tokens and itself left out)", style="bold")
    table = Table(box=None, header_style="dim", padding=(0, 1))
    for name in ("layer", "head"):
        table.add_column(name, justify="right")
    table.add_column("looks at")
    table.add_column("weight", justify="right")
    table.add_column("", min_width=_BAR)
    for edge in look.edges(count):
        table.add_row(
            str(edge.layer),
            str(edge.head),
            Text(name_of(look.keys, edge.key)),
            f"{edge.weight:.4f}",
            _bar(edge.weight),
        )
    return Group(title, table)


def _by_token(look: Look, count: int) -> RenderableType:
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("token")
    table.add_column("#", justify="right", style="dim")
    table.add_column("mean of heads", justify="right")
    table.add_column("strongest", justify="right")
    table.add_column("in")
    shares = look.shares()
    for share in shares[:count]:
        edge = share.strongest
        table.add_row(
            Text(share.key.label),
            str(share.key.index),
            f"{share.mean:.4f}",
            f"{edge.weight:.4f}",
            f"layer {edge.layer} head {edge.head}",
        )
    if len(shares) > count:
        rest = sum(s.mean for s in shares[count:])
        table.add_row(Text(f"{len(shares) - count} more", style="dim"), "", f"{rest:.4f}", "", "")
    return Group(Text("By token", style="bold"), table)


def _stage(number: int, stage: Stage, steps: Steps, chosen: list[int]) -> RenderableType:
    head = Text.assemble(
        (f"{number:>2}  ", "dim"), (stage.title, "bold"), "   ", (stage.formula, "cyan")
    )
    body: list[RenderableType] = []
    if stage.example:
        body.append(Text(stage.example))
    if stage.per == "feature" and stage.name != "input":
        body.append(Text(_numbers(stage.values.tolist()), style="dim"))
    elif stage.per == "key, feature":
        body.append(_vectors(stage, steps, chosen))
    return Group(head, *(Padding(b, (0, 0, 0, 4)) for b in body))


def _vectors(stage: Stage, steps: Steps, chosen: list[int]) -> Table:
    """One vector per key."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True)
    for j in chosen:
        key = steps.keys[j]
        table.add_row(Text(key.label), str(key.index), _numbers(stage.values[j].tolist()))
    return table


# a stage that has no short heading here goes by its own name
_COLUMNS = {
    "scores": "q · k",
    "scaled": "scaled",
    "softcap": "capped",
    "bias": "+ bias",
    "mask": "masked",
    "weights": "weight",
}


def _per_key(steps: Steps, chosen: list[int], order: list[int]) -> Table:
    """What happened to each key's number, from dot product to weight, a column a stage."""
    stages = [s for s in steps.stages if s.per == "key"]
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("key")
    table.add_column("#", justify="right", style="dim")
    for stage in stages:
        table.add_column(_COLUMNS.get(stage.name, stage.name), justify="right")
    table.add_column("", min_width=_BAR)
    for j in chosen:
        key = steps.keys[j]
        numbers = [_number(float(s.values[j]), s.name == "weights") for s in stages]
        table.add_row(Text(key.label), str(key.index), *numbers, _bar(float(stages[-1].values[j])))
    if left_out := order[len(chosen) :]:
        share = float(stages[-1].values[left_out].sum())
        blanks = [""] * (len(stages) - 1)
        table.add_row(Text(f"{len(left_out)} more", style="dim"), "", *blanks, f"{share:.4f}", "")
    return table


def _number(value: float, is_weight: bool = False) -> str:
    if value == float("-inf"):
        return "−∞"
    return f"{value:.4f}" if is_weight else f"{value:.4g}"


def _numbers(values: Sequence[float], count: int = 8) -> str:
    shown = " ".join(f"{v:8.3g}" for v in values[:count])
    more = f" … of {len(values)}" if len(values) > count else ""
    return f"[{shown}{more}]"


def _bar(weight: float) -> str:
    """A bar in eighths of a character; NaN draws nothing."""
    if not 0 <= weight <= 1.0001:
        return ""
    eighths = round(weight * _BAR * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def _predictions(predictions: Sequence[Prediction]) -> RenderableType | None:
    lines = []
    for said in predictions:
        if said.kind == "embedding":
            continue
        words = ", ".join(f"{word!r} {100 * share:.0f} %" for word, share in said.candidates)
        what = "next token" if said.kind == "next" else f"token {said.position} is masked"
        lines.append(Text(f"{what}: {words}"))
    return Group(*lines) if lines else None
