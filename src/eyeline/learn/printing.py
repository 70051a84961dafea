"""Printing without the models: `view.terminal` would bring all of them with it."""

import sys

from rich.console import Console, RenderableType

__all__ = ["show"]

_PLAIN_WIDTH = 110
"""Columns when nobody watches, as everywhere in eyeline."""


def show(renderable: RenderableType) -> None:
    """Print to standard output, with colours where somebody watches, and at once."""
    console = Console(highlight=False)
    if not console.is_terminal:
        width = None if "COLUMNS" in console._environ else _PLAIN_WIDTH
        console = Console(highlight=False, no_color=True, width=width, soft_wrap=False)
    with console.capture() as captured:
        console.print(renderable)
    lines = captured.get().split("\n")
    sys.stdout.write("\n".join(line if console.is_terminal else line.rstrip() for line in lines))
    sys.stdout.flush()
