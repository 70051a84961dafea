"""Several models read one text, side by side: who may look where, and who does."""

from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from eyeline.looks import Look
from eyeline.readings import Reading
from eyeline.sight import Sight

__all__ = ["render_compare"]

_SHADES = "·░▒▓█"
_BORDERS = (0.02, 0.08, 0.2, 0.4)
"""Weights from here on get the next shade."""

_BAR = 10
_WIDEST_GRID = 40
"""Tokens of which every pair is still drawn."""


def render_compare(
    readings: Sequence[Reading], sights: Sequence[Sight], looks: Sequence[Look] | None = None
) -> RenderableType:
    """One panel per model.

    Args:
        readings: One text, read by several models.
        sights: What each may see and does see.
        looks: What one token looks at in each; None shows every token.
    """
    panels = []
    for n, (reading, sight) in enumerate(zip(readings, sights, strict=True)):
        about = Text(f"{sight.kind}: {sight.rule}", style="bold")
        body = _grid(sight) if looks is None else _one_token(sight, looks[n])
        size = Text(f"{len(sight.keys)} tokens, {len(reading.maps(sight.kind))} layers", "dim")
        panels.append(
            Panel(Group(about, size, Text(""), body), title=reading.model, expand=False, width=54)
        )
    legend = _legend() if looks is None else Text("○ may be looked at   – may not", style="dim")
    note = Text("Weights are means over all layers and heads.", style="dim")
    return Group(Columns(panels, padding=(0, 1)), legend, note)


def _one_token(sight: Sight, look: Look) -> RenderableType:
    query = look.query
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="center")
    table.add_column(justify="right")
    table.add_column(no_wrap=True, min_width=_BAR)
    may, does = sight.may[query.index].tolist(), sight.does[query.index].tolist()
    for key in sight.keys:
        here = sight.kind != "cross" and key.index == query.index
        style = "bold" if here else "" if may[key.index] else "dim"
        weight = does[key.index]
        shown = (f"{weight:.3f}", _bar(weight)) if may[key.index] else ("", "")
        table.add_row(Text(key.label), "○" if may[key.index] else "–", *shown, style=style)
    return Group(Text(_said(sight, look)), Text(""), table)


def _bar(weight: float) -> str:
    """A bar in eighths of a character."""
    eighths = round(max(weight, 0.0) * _BAR * 8) if weight == weight else 0
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def _said(sight: Sight, look: Look) -> str:
    """What the token may do and does, in a sentence or two."""
    query = look.query
    count = int(sight.may[query.index].sum())
    text = f"{query.label} may look at {count} of {len(sight.keys)} tokens. {look.sentence()}"
    if sight.kind == "cross":
        return text
    before, behind = 100 * sight.back(query.index), 100 * sight.ahead(query.index)
    return f"{text} {before:.0f} % goes back, {behind:.0f} % ahead."


def _grid(sight: Sight) -> RenderableType:
    """Rows look, columns are looked at; blank where a look is not allowed."""
    if len(sight.keys) > _WIDEST_GRID:
        return Text(
            f"{len(sight.keys)} tokens are too many to draw every pair: choose one with --token"
        )
    table = Table(box=None, show_header=False, padding=0)
    table.add_column(justify="right", no_wrap=True, max_width=12)
    table.add_column(no_wrap=True)
    for query in sight.queries:
        cells = zip(sight.may[query.index].tolist(), sight.does[query.index].tolist(), strict=True)
        row = "".join(_shade(weight) if may else " " for may, weight in cells)
        table.add_row(Text(f"{query.label} "), row)
    return table


def _shade(weight: float) -> str:
    return _SHADES[sum(weight >= border for border in _BORDERS)]


def _legend() -> Text:
    steps = [f"{_SHADES[0]} below {_BORDERS[0]:.0%}"]
    steps += [f"{_SHADES[n]} from {b:.0%}" for n, b in enumerate(_BORDERS, start=1)]
    return Text(f"rows look at columns:  {'   '.join(steps)}   blank: may not", style="dim")
