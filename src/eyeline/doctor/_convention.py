"""How a candidate can be called, and what its answers would then have to be."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._arrays import from_library
from eyeline.doctor._attempt import Answer, Unusable, attempt, describe
from eyeline.doctor._cases import Case
from eyeline.doctor.recipe import Recipe

__all__ = ["Axes", "Convention", "Hypothesis", "arrays_in", "pick"]

Axes = Sequence[tuple[str, int]]
"""Names and lengths of the axes of a result: `[("batch", 2), ("heads", 3), …]`."""


@dataclass(frozen=True)
class Hypothesis:
    """What the candidate may be meant to compute, where its signature leaves that open.

    Attributes:
        notes: In words: `{"causal": "inside, aligned top left"}`.
        cases: The questions; their inputs say what the right answers are.
    """

    notes: Mapping[str, str]
    cases: tuple[Case, ...]


@dataclass
class Convention:
    """One way to call a candidate.

    Attributes:
        recipe: What it should compute.
        notes: How it is called, in words: `{"layout": "[batch, heads, length, width]"}`.
        hypotheses: What it may be meant to compute. All have the same questions in the same order.
        call: Calls the candidate on a case's inputs and gives what it returns.
        read: The answer in what it returned, in the recipe's own layout; raises `Unusable`.
        native: The answer as the candidate's caller sees it, with the names of its axes.
        tier: How much was given up so that the candidate runs; 0 is nothing.
        limit: What was given up, in words.
        masks_unused: Its mask was left out, for no form of it worked.
    """

    recipe: Recipe
    notes: dict[str, str]
    hypotheses: list[Hypothesis]
    call: Callable[[Mapping[str, Any]], Any]
    read: Callable[[Any, Mapping[str, Any]], Tensor]
    native: Callable[[Tensor], tuple[Tensor, tuple[str, ...]]]
    tier: int = 0
    limit: str = ""
    masks_unused: bool = False
    answers: list[Answer] = field(default_factory=list)
    dtype: torch.dtype = torch.float64

    def ask(self, inputs: Mapping[str, Any]) -> Tensor:
        """The candidate's answer in the recipe's own layout; raises `Unusable`."""
        return self.read(self.call(inputs), inputs)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The questions as they are put to the candidate."""
        return self.hypotheses[0].cases

    def cast(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs in the dtype that the candidate takes."""
        return {
            name: thing.to(self.dtype)
            if isinstance(thing, Tensor) and thing.is_floating_point()
            else thing
            for name, thing in inputs.items()
        }

    def try_case(self, case: Case) -> Answer:
        """The candidate's answer to one case; in float32 if float64 is not to its taste."""
        answer = attempt(lambda: self.ask(self.cast(case.inputs)))
        if answer.problem is None or self.dtype is torch.float32:
            return answer
        self.dtype = torch.float32
        second = attempt(lambda: self.ask(self.cast(case.inputs)))
        if second.problem is None:
            return second
        self.dtype = torch.float64
        return answer

    def run(self) -> bool:
        """Put all questions; whether every one that counts was answered with numbers."""
        self.answers = []
        for case in self.cases:
            answer = self.try_case(case)
            self.answers.append(answer)
            if answer.problem is not None and not case.optional:
                return False
        return True

    @property
    def problem(self) -> Answer | None:
        """The first question that counts and was not answered."""
        for case, answer in zip(self.cases, self.answers, strict=False):
            if answer.problem is not None and not case.optional:
                return answer
        return None

    @property
    def precise(self) -> bool:
        """Whether the answers are in double precision."""
        given = [a.value.dtype for a in self.answers if a.value is not None]
        return self.dtype is torch.float64 and all(d is torch.float64 for d in given)


def arrays_in(output: Any) -> list[tuple[str, Tensor]]:
    """Every array in what a candidate returned, with where it stands."""
    if output is None:
        raise Unusable(
            "returns nothing", "your code returned None: is there a `return` at the end of it?"
        )
    array = from_library(output)
    if array is not None:
        return [("", array)]
    pairs: Iterable[tuple[str, Any]] = ()
    if isinstance(output, Mapping):
        pairs = ((f"[{key!r}]", thing) for key, thing in output.items())
    elif isinstance(output, tuple | list):
        pairs = ((f"[{i}]", thing) for i, thing in enumerate(output))
    elif hasattr(output, "__dict__"):
        pairs = ((f".{name}", thing) for name, thing in vars(output).items())
    found = [(where, from_library(thing)) for where, thing in pairs if thing is not None]
    arrays = [(where, array) for where, array in found if array is not None]
    if not arrays:
        raise Unusable(
            "returns no numbers",
            f"your code returned {describe(output)}; expected a tensor (or a tuple that holds it). "
            "If it comes wrapped in something else, unwrap it: "
            "adapter=lambda candidate, *inputs: candidate(*inputs).output",
        )
    return arrays


def pick(output: Any, layouts: Sequence[Axes], sizes: Mapping[str, int]) -> tuple[Tensor, int]:
    """The first array whose shape is one of the layouts, and which layout it is.

    Args:
        output: What a candidate returned.
        layouts: The shapes that are understood, the likeliest first.
        sizes: Lengths by name, for the message about a shape that is none of them.

    Raises:
        Unusable: There is none; the message names the axes.
    """
    arrays = arrays_in(output)
    for index, axes in enumerate(layouts):
        wanted = [length for _, length in axes]
        for _, array in arrays:
            if list(array.shape) == wanted:
                if array.dtype == torch.bool or not array.is_floating_point():
                    array = array.double()
                return array, index
    wanted = ", ".join(f"{name} {length}" for name, length in layouts[0])
    got = list(arrays[0][1].shape)
    raise Unusable("wrong shape", f"expected [{wanted}], got {got}{_which(got, layouts[0], sizes)}")


def _which(got: list[int], axes: Axes, sizes: Mapping[str, int]) -> str:
    """Which axis is wrong and what its length is the length of."""
    if len(got) != len(axes):
        return f": {len(got)} axes instead of {len(axes)}"
    by_length: dict[int, str] = {}
    for name, length in sizes.items():
        by_length.setdefault(length, name)
    for index, ((name, length), found) in enumerate(zip(axes, got, strict=True)):
        if found != length:
            known = by_length.get(found)
            means = f", which is the number of {known}" if known else ""
            return f": axis {index} should be {name} ({length}) and is {found}{means}"
    return ""
