"""Many runs of one recipe on the same inputs: what they have in common is computed once."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from eyeline.doctor.recipe import Recipe, State, Step

__all__ = ["Runs"]

MOST = 4096
"""Beginnings that are kept; some kilobytes each."""


class Runs:
    """Runs of a recipe that differ in their steps.

    Two mistakes at once are like the first of them alone until the second comes: of the thousands
    of pairs that are tried, most have to make their last steps only. No step may change what it
    is given.

    Args:
        recipe: What is computed.
        inputs: What is given, by name.
    """

    def __init__(self, recipe: Recipe, inputs: Mapping[str, Any]) -> None:
        self._recipe, self._inputs = recipe, dict(inputs)
        self._steps = list(recipe.steps.items())
        self._known: dict[Any, dict[str, Any]] = {}

    def run(self, wrong: Mapping[str, Step]) -> State:
        """All steps in order, some of them otherwise: what `Recipe.run` gives."""
        return SimpleNamespace(**self._made(len(self._steps), wrong))

    def _before(self, count: int, wrong: Mapping[str, Step]) -> dict[str, Any]:
        """What is known after so many steps, kept."""
        key = count, tuple((name, wrong[name]) for name, _ in self._steps[:count] if name in wrong)
        if key not in self._known:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = self._made(count, wrong)
        return self._known[key]

    def _made(self, count: int, wrong: Mapping[str, Step]) -> dict[str, Any]:
        """What is known after so many steps, on from the last of them that is otherwise."""
        otherwise = [n for n, (name, _) in enumerate(self._steps[:count]) if name in wrong]
        begin = otherwise[-1] if otherwise else 0
        known = dict(self._before(begin, wrong) if begin else self._inputs)
        state = SimpleNamespace(**known)
        for name, right in self._steps[begin:count]:
            made = wrong.get(name, right)(state)
            vars(state).update(made if isinstance(made, dict) else {name: made})
        return vars(state)
