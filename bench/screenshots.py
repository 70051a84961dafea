"""Draws the README's pictures of the terminal.  python -m bench.screenshots.

Writes docs/look.svg and docs/steps.svg. Needs: eyeline models get minilm.
"""

import re
from io import StringIO
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from eyeline.readings import load, read
from eyeline.view import terminal

DOCS = Path(__file__).parent.parent / "docs"
TEXT = "The animal didn't cross the street because it was tired"
WIDTH = 106


def picture(command: str, shown: RenderableType) -> str:
    """A terminal in which the command was given, as SVG; the same input gives the same file."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "dim"), command))
    console.print(shown)
    svg = console.export_svg(title="eyeline", unique_id="eyeline")
    # rich points to a font on a CDN: a picture in a README asks nobody but its reader
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    reading = read(TEXT, load("minilm"))
    pictures = {
        "look": (
            f'eyeline look "{TEXT}" --model minilm --token it',
            terminal.render_look(reading, reading.look("it"), 6),
        ),
        "steps": (
            f'eyeline steps "{TEXT}" --model minilm --layer 3 --head 1 --token it --top 3',
            terminal.render_steps(reading, reading.steps(3, 1, "it"), 3),
        ),
    }
    for name, (command, shown) in pictures.items():
        path = DOCS / f"{name}.svg"
        path.write_text(picture(command, shown), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
