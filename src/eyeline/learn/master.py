"""One source for each exercise: its stub, its solution and its page are cut out of one file."""

import importlib
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from eyeline._errors import EyelineError

if TYPE_CHECKING:  # it brings torch, which a learner's process imports at the same time as we do
    from eyeline.learn.exercise import Exercise

__all__ = ["FOLDER", "Master", "find", "masters"]

FOLDER = Path(__file__).parent / "exercises"

_FILE = re.compile(r"^e(\d\d)_(\w+)\.py$")
_BEGIN, _END = "# --- your file", "# --- end of your file"
_SOLUTION = re.compile(r"^( *)# solution\n(.*?)^ *# end\n", re.MULTILINE | re.DOTALL)
_WIDTH = 96


@dataclass(frozen=True)
class Master:
    """An exercise and its file.

    Attributes:
        number: From 1.
        name: Its name, without the number.
        path: The master file.
    """

    number: int
    name: str
    path: Path

    @property
    def label(self) -> str:
        """Number and name: `06_scale`."""
        return f"{self.number:02d}_{self.name}"

    @property
    def exercise(self) -> "Exercise":
        """The exercise itself; this imports torch."""
        module = importlib.import_module(f"eyeline.learn.exercises.{self.path.stem}")
        return module.exercise

    def solution(self) -> str:
        """The learner's file, completed."""
        return _SOLUTION.sub(r"\2", self._section())

    def stub(self) -> str:
        """The learner's file as they get it: the story on top, something to replace below."""
        exercise = self.exercise
        story = [
            *textwrap.dedent(exercise.story).strip().split("\n"),
            "",
            f"Difficulty {exercise.difficulty} of 3, about {exercise.minutes} minutes.",
            f"Check it:  eyeline practice run {self.number}",
            f"Stuck?     eyeline practice hint {self.number}",
        ]
        head = [f"# {self.number}. {exercise.title}", "#"]
        head += [f"# {line}".rstrip() for line in story]
        todo = 'raise NotImplementedError("your code goes here")'
        body = _SOLUTION.sub(lambda found: f"{found[1]}{todo}\n", self._section())
        return "\n".join(head) + "\n\n" + body

    def page(self) -> str:
        """The exercise as Markdown, for the docs: story, signature and shapes, hints folded in."""
        exercise = self.exercise
        parts = [
            f"### {self.number}. {exercise.title}",
            f"*Difficulty {exercise.difficulty} of 3, about {exercise.minutes} minutes, "
            f"`{self.label}.py`*",
            textwrap.dedent(exercise.story).strip(),
            f"```python\n{self._section_stub().strip()}\n```",
            "Mistakes that are recognised:\n\n"
            + "\n".join(f"- {mistake.name}" for mistake in exercise.mistakes),
        ]
        return "\n\n".join(parts) + "\n"

    def _section_stub(self) -> str:
        return _SOLUTION.sub(lambda found: f"{found[1]}...\n", self._section())

    def _section(self) -> str:
        text = self.path.read_text(encoding="utf-8")
        return text.split(_BEGIN, 1)[1].split(_END, 1)[0].split("\n", 1)[1].strip("\n") + "\n"


@cache
def masters() -> tuple[Master, ...]:
    """All exercises in order; none of them is imported."""
    found = [(_FILE.match(path.name), path) for path in sorted(FOLDER.iterdir())]
    return tuple(Master(int(match[1]), match[2], path) for match, path in found if match)


def find(name: str) -> Master:
    """The exercise that a learner means: by number, by name, by file.

    Raises:
        EyelineError: There is none, or several.
    """
    wanted = Path(name).name.removesuffix(".py").lower()
    every = masters()
    for one in every:
        if wanted in (one.name, one.label, str(one.number), f"{one.number:02d}"):
            return one
    close = [one for one in every if wanted and wanted in one.label]
    if len(close) == 1:
        return close[0]
    if close:
        raise EyelineError(f"{name!r} could be {', '.join(one.label for one in close)}: name one")
    raise EyelineError(
        f"there is no exercise {name!r}: give a number from 1 to {len(every)}, or a name from "
        "`eyeline practice list`"
    )
