"""A computation as named steps; a mistake is one of the steps made otherwise.

A step is a small function that takes everything made so far and returns what bears its name:

    @ATTENTION.step
    def scaled(s): return s.scores * s.scale

    @ATTENTION.mistake("scaled", "not scaled", seen=…, symptom=…, fix=…)
    def _(s): return s.scores

So every mistake can be run, two mistakes in different steps can be run together, and whatever lies
between input and output can be looked at.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from types import SimpleNamespace
from typing import Any, TypeAlias

__all__ = ["Mistake", "Recipe", "State", "Step", "Variant"]

State: TypeAlias = Any
"""What is known so far, by name: the inputs, then each step's result (a `SimpleNamespace`)."""

Step: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Mistake:
    """Something that people get wrong, and how to recognise it.

    Attributes:
        name: A short phrase that says what was done: "scaled by 1/√embed_dim".
        recipe: What it is a mistake in: "attention".
        steps: The steps that are made otherwise.
        seen: How it looks in the wild: a line of code.
        symptom: What one notices.
        fix: The idea of the remedy, as a question or a hint, never the line itself.
        source: Where it was seen or is explained.
        needs: Sizes that must exceed 1 for it to exist (heads that are mixed up need heads).
        values: Numbers that it comes with (block lengths); empty if it comes in one form.
    """

    name: str
    recipe: str
    steps: Mapping[str, Step] = field(repr=False)
    seen: str = field(repr=False)
    symptom: str = field(repr=False)
    fix: str = field(repr=False)
    source: str = field(default="", repr=False)
    needs: tuple[str, ...] = field(default=(), repr=False)
    values: tuple[Any, ...] = field(default=(), repr=False)

    def variants(self) -> Iterator["Variant"]:
        """The mistake in each of its forms."""
        if not self.values:
            yield Variant((self,), self.steps)
        for value in self.values:
            steps = {name: _bound(step, value) for name, step in self.steps.items()}
            yield Variant((self,), steps, (value,))

    def to_dict(self) -> dict[str, str]:
        """What there is to read about it."""
        words = ("name", "recipe", "seen", "symptom", "fix", "source")
        return {word: getattr(self, word) for word in words}


@dataclass(frozen=True)
class Variant:
    """One mistake or several, ready to be run."""

    mistakes: tuple[Mistake, ...]
    steps: Mapping[str, Step] = field(repr=False)
    values: tuple[Any, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The mistakes by name, in order."""
        return tuple(mistake.name for mistake in self.mistakes)

    def fits(self, sizes: Mapping[str, Any]) -> bool:
        """Whether such a thing exists in a case of these sizes."""
        return all(sizes.get(n, 0) > 1 for mistake in self.mistakes for n in mistake.needs)


class Recipe:
    """A computation as named steps, with the mistakes that are known in each.

    Args:
        name: What is computed, as `check(what=…)` calls it.
        about: One sentence on what is right.
        result: The step whose result is the answer.
        signature: How a candidate is called, for messages: "f(query, key, value, mask)".
    """

    def __init__(self, name: str, about: str, result: str, signature: str) -> None:
        self.name, self.about, self.result, self.signature = name, about, result, signature
        self.steps: dict[str, Step] = {}
        self.mistakes: list[Mistake] = []
        self.equivalent: list[tuple[frozenset[str], str]] = []

    def step(self, function: Step) -> Step:
        """Register the right way of a step; it bears the function's name."""
        self.steps[function.__name__] = function
        return function

    def include(self, other: "Recipe", *, without: tuple[str, ...] = ()) -> None:
        """Go on with another recipe's steps; its mistakes can be made here too."""
        self.steps.update(other.steps)
        self.mistakes += [m for m in other.mistakes if m.name not in without]

    def mistake(
        self,
        step: str,
        name: str,
        *,
        seen: str,
        symptom: str,
        fix: str,
        source: str = "",
        needs: tuple[str, ...] = (),
        values: tuple[Any, ...] = (),
        also: Mapping[str, Step] | None = None,
    ) -> Callable[[Step], Step]:
        """Register a known-wrong way of a step (and of the steps in `also`); see `Mistake`."""

        def register(function: Step) -> Step:
            steps = {step: function, **(also or {})}
            unknown = set(steps) - set(self.steps)
            assert not unknown, f"{self.name} has no step {unknown}"
            assert all(m.name != name for m in self.mistakes), f"{self.name} has {name!r} twice"
            self.mistakes.append(
                Mistake(name, self.name, steps, seen, symptom, fix, source, needs, values)
            )
            return function

        return register

    def run(self, inputs: Mapping[str, Any], wrong: Mapping[str, Step] | None = None) -> State:
        """All steps in order.

        Args:
            inputs: What is given, by name.
            wrong: Steps that are made otherwise.

        Returns:
            Inputs and every step's result, by name.
        """
        state = SimpleNamespace(**inputs)
        for name, right in self.steps.items():
            made = (wrong or {}).get(name, right)(state)
            vars(state).update(made if isinstance(made, dict) else {name: made})
        return state

    def same_as(self, name: str) -> tuple[str, ...]:
        """Mistakes that give the same numbers as this one, in the order of the catalogue."""
        names = {n for group, _ in self.equivalent if name in group for n in group} - {name}
        return tuple(m.name for m in self.mistakes if m.name in names)

    def singles(self) -> list[Variant]:
        """Every known mistake in each of its forms."""
        return [variant for mistake in self.mistakes for variant in mistake.variants()]

    def doubles(self, singles: list[Variant]) -> Iterator[Variant]:
        """Every two of them that stand in different steps."""
        for one, other in combinations(singles, 2):
            if not set(one.steps) & set(other.steps):
                yield Variant(
                    one.mistakes + other.mistakes,
                    {**one.steps, **other.steps},
                    one.values + other.values,
                )


def _bound(step: Step, value: Any) -> Step:
    return lambda state: step(state, value)
