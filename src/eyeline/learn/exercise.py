"""What an exercise is: a page, a file to be completed, probes, and mistakes with names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Draw", "Exercise", "Mistake", "Probe"]


class Draw:
    """Numbers from a seed, in float64, so that the same probe can be made again.

    Args:
        seed: The seed.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Normally distributed numbers with standard deviation `scale`."""
        return scale * torch.randn(shape, generator=self._generator, dtype=torch.float64)

    def flags(self, *shape: int, share: float = 0.5) -> Tensor:
        """Booleans that are True with probability `share`."""
        return torch.rand(shape, generator=self._generator) < share

    def whole(self, high: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to `high - 1`."""
        return torch.randint(high, shape, generator=self._generator)


@dataclass(frozen=True)
class Probe:
    """One call that the learner's function is asked for.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        grad: Whether the gradients are compared too.
        function: Which function is called; default: the exercise's.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    grad: bool = False
    function: str | None = None


@dataclass(frozen=True)
class Mistake:
    """A wrong solution that has a name.

    Attributes:
        name: What the output equals then, as a noun: "softmax over the queries".
        wrong: It, with the signature of the solution.
        question: What to ask whoever made it; never the fix.
        function: Which function it replaces; default: the exercise's.
    """

    name: str
    wrong: Callable[..., Any]
    question: str
    function: str | None = None


@dataclass(frozen=True)
class Exercise:
    """One exercise; its number, name and text come from the file it stands in.

    Attributes:
        title: In a few words.
        function: Name of the function that is to be written.
        solution: The function, written.
        minutes: How long it takes somebody who sees it for the first time.
        difficulty: 1 to 3.
        story: What it is about and why, in Markdown.
        hints: Three, each says more than the one before.
        probes: Makes the calls to compare.
        mistakes: Wrong solutions that are recognised.
        axes: Names of the output's axes.
        without: Names that the solution must do without, for they are what is being written.
        examine: Where the function is an attention that the doctor can examine: the options of
            `eyeline.check(function, …)`; else None.
        others: Further functions of the file that are to be written.
        tolerance: How far a number may be off, absolutely, and ten times that relatively.
    """

    title: str
    function: str
    solution: Callable[..., Any]
    minutes: int
    difficulty: int
    story: str
    hints: tuple[str, str, str]
    probes: Callable[[Draw], Sequence[Probe]]
    mistakes: Sequence[Mistake]
    axes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    examine: Mapping[str, Any] | None = None
    others: dict[str, Callable[..., Any]] = field(default_factory=dict)
    tolerance: float = 1e-6

    def solve(self, name: str | None) -> Callable[..., Any]:
        """The solution of one function; None is the exercise's own."""
        return self.solution if name is None else self.others[name]
