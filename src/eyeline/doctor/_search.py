"""Which known mistakes, one or two, give exactly what the candidate gives."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._attempt import Answer
from eyeline.doctor._cases import Case, fingerprint
from eyeline.doctor._compare import IMPOSSIBLE, fits, tolerance
from eyeline.doctor.recipe import Recipe, Variant

__all__ = ["Judge"]

PAIRS = 4000
"""Pairs that are tried at most; no recipe has so many."""


class Judge:
    """Knows what is right in some cases, and what every mistake would give there.

    Args:
        recipe: What should be computed.
        cases: The questions.
        strict: Rows that see nothing must be 0.
        memory: What variants gave to a question, shared by judges of the same candidate.
    """

    def __init__(
        self,
        recipe: Recipe,
        cases: Sequence[Case],
        *,
        strict: bool = False,
        memory: dict[Any, Any] | None = None,
    ) -> None:
        self.recipe, self.cases, self.strict = recipe, tuple(cases), strict
        self.rights = [recipe.run(case.inputs) for case in cases]
        self.memory: dict[Any, Any] = {} if memory is None else memory

    def right(self, answers: Sequence[Answer], precise: bool) -> bool:
        """Whether the answers are those of the recipe."""
        return self._all_fit(None, answers, precise)

    def wrong_cases(self, answers: Sequence[Answer], precise: bool) -> list[int]:
        """The cases in which the answers are not those of the recipe."""
        return [i for i in self._answered(answers) if not self._fit(i, None, answers, precise)]

    def explain(self, answers: Sequence[Answer], precise: bool, *, pairs: bool) -> list[Variant]:
        """Every known mistake (with `pairs`: every two of them) that gives these answers.

        Each combination of mistakes stands there once, whatever forms of it fit.
        """
        variants = self.doubles if pairs else self.singles
        order = self._answered(answers)
        found: dict[tuple[str, ...], Variant] = {}
        first = order[0] if order else 0
        keep = self._alike(variants, first, answers, precise) if order else []
        for index in keep:
            variant = variants[index]
            if variant.names not in found and all(
                self._fit(i, variant, answers, precise) for i in order
            ):
                found[variant.names] = variant
        return list(found.values())

    @cached_property
    def singles(self) -> list[Variant]:
        """The mistakes that exist in these cases."""
        sizes = self.cases[0].inputs
        return [variant for variant in self.recipe.singles() if variant.fits(sizes)]

    @cached_property
    def doubles(self) -> list[Variant]:
        """Every two mistakes that stand in different steps and that these cases show."""
        visible = [variant for variant in self.singles if not self._invisible(variant)]
        return list(self.recipe.doubles(visible))[:PAIRS]

    def _invisible(self, variant: Variant) -> bool:
        """Whether the mistake makes no difference in any case."""
        return all(
            fits(
                self.recipe,
                case,
                getattr(right, self.recipe.result),
                variant.steps,
                right=right,
                precise=True,
            )
            for case, right in zip(self.cases, self.rights, strict=True)
        )

    def _alike(
        self,
        variants: list[Variant],
        case: int,
        answers: Sequence[Answer],
        precise: bool,
    ) -> list[int]:
        """Which variants give nearly this answer to one case: a sieve before the real comparison.

        Rows that may see nothing are left out: there a variant has several faces.
        """
        answer = answers[case].value
        assert answer is not None
        results = self._run_all(variants, case, answer)
        apart = (results - answer).abs()
        both = results.isnan() | (results == answer)  # NaN: a row that this mistake hides
        apart = apart.masked_fill(both, 0).nan_to_num(nan=torch.inf).reshape(len(results), -1)
        limit = tolerance(precise) * max(1.0, float(answer.nan_to_num(0, 0, 0).abs().max()))
        return torch.nonzero(apart.amax(1) <= limit).flatten().tolist()

    def _run_all(self, variants: list[Variant], case: int, answer: Tensor) -> Tensor:
        inputs = {
            name: thing.to(answer.dtype)
            if isinstance(thing, Tensor) and thing.is_floating_point()
            else thing
            for name, thing in self.cases[case].inputs.items()
        }
        known = self.memory.setdefault((fingerprint(self.cases[case]), answer.dtype), {})
        for variant in variants:
            key = (variant.names, variant.values)
            if key not in known:
                known[key] = self._result(variant, inputs)
        nothing = torch.full_like(answer, torch.inf)
        results = [known[variant.names, variant.values] for variant in variants]
        fitting = [nothing if r is None or r.shape != answer.shape else r for r in results]
        return torch.stack(fitting) if fitting else answer.new_zeros(0, *answer.shape)

    def _result(self, variant: Variant, inputs: dict[str, Any]) -> Tensor | None:
        """What a variant gives; None where its shapes cannot be."""
        try:
            return getattr(self.recipe.run(inputs, variant.steps), self.recipe.result)
        except IMPOSSIBLE:
            return None

    def _answered(self, answers: Sequence[Answer]) -> list[int]:
        return [i for i, answer in enumerate(answers) if answer.value is not None]

    def _all_fit(self, variant: Variant | None, answers: Sequence[Answer], precise: bool) -> bool:
        return all(self._fit(i, variant, answers, precise) for i in self._answered(answers))

    def _fit(
        self, index: int, variant: Variant | None, answers: Sequence[Answer], precise: bool
    ) -> bool:
        answer = answers[index].value
        assert answer is not None
        return fits(
            self.recipe,
            self.cases[index],
            answer,
            None if variant is None else variant.steps,
            right=self.rights[index],
            precise=precise,
            strict=self.strict,
        )

