"""Which known mistakes, one or two, give exactly what the candidate gives."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._attempt import Answer
from eyeline.doctor._cases import Case, fingerprint
from eyeline.doctor._compare import IMPOSSIBLE, as_dtype, fits, hides_rows, judged_rows, tolerance
from eyeline.doctor._runs import Runs
from eyeline.doctor.recipe import Recipe, Variant

__all__ = ["Judge"]

MIXES = {"weights", "context", "split", "merged", "projected"}
"""Steps through which a row that sees nothing may reach others: there all of its faces count."""

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
        with torch.no_grad():
            self.rights = [recipe.run(case.inputs) for case in cases]
        self._cast: dict[tuple[int, torch.dtype], Runs] = {}
        self._stacks: dict[Any, tuple[Tensor, dict[int, Tensor]]] = {}
        self._prints = [fingerprint(case) for case in cases]
        self.memory: dict[Any, Any] = {} if memory is None else memory

    @torch.no_grad()
    def right(self, answers: Sequence[Answer], precise: bool) -> bool:
        """Whether the answers are those of the recipe."""
        return self._all_fit(None, answers, precise)

    @torch.no_grad()
    def wrong_cases(self, answers: Sequence[Answer], precise: bool) -> list[int]:
        """The cases in which the answers are not those of the recipe."""
        return [i for i in self._answered(answers) if not self._fit(i, None, answers, precise)]

    @torch.no_grad()
    def explain(
        self,
        answers: Sequence[Answer],
        precise: bool,
        *,
        pairs: bool,
        among: Callable[[Variant], bool] | None = None,
    ) -> list[Variant]:
        """Every known mistake (with `pairs`: every two of them) that gives these answers.

        `among` says which are worth trying, if not all. Each combination of mistakes stands there
        once, whatever forms of it fit.
        """
        variants = self.doubles if pairs else self.singles
        if among is not None:
            variants = [variant for variant in variants if among(variant)]
        order = self._answered(answers)
        for case in order:
            variants = self._alike(variants, case, answers, precise)
        found: dict[tuple[str, ...], Variant] = {}
        for variant in variants:
            if variant.names not in found and all(
                self._fit(i, variant, answers, precise) for i in order
            ):
                found[variant.names] = variant
        return list(found.values())

    @cached_property
    def singles(self) -> list[Variant]:
        """The mistakes that exist in these cases."""
        sizes: dict[str, Any] = {}
        for case in self.cases:
            for name, size in case.inputs.items():
                if isinstance(size, int):
                    sizes[name] = max(sizes.get(name, 0), size)
        return [variant for variant in self.recipe.singles() if variant.fits(sizes)]

    @cached_property
    def doubles(self) -> list[Variant]:
        """Every two mistakes that stand in different steps and that these cases show.

        Of mistakes that come with a number (blocks), only forms that the first case shows: the
        others are many, and two mistakes at once of which one shows in long texts only are rare.
        """
        visible = [
            variant
            for variant in self.singles
            if not self.invisible(variant, 1 if len(variant.mistakes[0].values) > 5 else None)
        ]
        return list(self.recipe.doubles(visible))[:PAIRS]

    def invisible(self, variant: Variant, cases: int | None) -> bool:
        """Whether the mistake makes no difference in the first so many cases."""
        for index, right in enumerate(self.rights[:cases]):
            result, _ = self._result(variant, index, torch.float64)
            wanted = getattr(right, self.recipe.result)
            if result is None or result.shape != wanted.shape:
                return False
            if not torch.equal(result.nan_to_num(0), wanted.nan_to_num(0)):
                return False
        return True

    def _alike(
        self, variants: list[Variant], case: int, answers: Sequence[Answer], precise: bool
    ) -> list[Variant]:
        """Variants that give nearly this answer to a case: a sieve before the real comparison.

        What hides a row passes: a row that sees nothing has several faces.
        """
        answer = answers[case].value
        assert answer is not None
        if not variants or hides_rows(self.rights[case]):
            return variants
        results, hiding = self._results(variants, case, answer)
        limit = tolerance(precise) * max(1.0, float(answer.nan_to_num(0, 0, 0).abs().max()))
        near = (results - answer).abs_() <= limit  # not where it is NaN or infinite
        if not answer.isfinite().all():
            near |= (results == answer) | (results.isnan() & answer.isnan())
        # [variants, …, rows]; a single number has no rows
        far = ~(near.all(-1) if near.dim() > 1 else near)
        wrong = far.reshape(len(variants), -1).any(-1).tolist()
        for n, seen in hiding.items():
            wrong[n] = MIXES.isdisjoint(variants[n].steps) and bool((far[n] & seen).any())
        return [variant for variant, bad in zip(variants, wrong, strict=True) if not bad]

    def _results(
        self, variants: list[Variant], case: int, answer: Tensor
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """What variants give to a case, [variants, *answer's shape]; infinity where there is none.

        And which rows see something, by the number of each variant that hides some. Kept for the
        two whole lists, which are asked about again and again.
        """
        lists = [n for n in ("singles", "doubles") if vars(self).get(n) is variants]
        key = *lists, case, answer.dtype, answer.shape
        if lists and key in self._stacks:
            return self._stacks[key]
        nothing = torch.full_like(answer, torch.inf)
        given = [self._result(variant, case, answer.dtype) for variant in variants]
        fitting = [nothing if r is None or r.shape != answer.shape else r for r, _ in given]
        hiding = {n: seen for n, (_, seen) in enumerate(given) if seen is not None}
        found = torch.stack(fitting), hiding
        if lists:
            self._stacks[key] = found
        return found

    def _result(
        self, variant: Variant, case: int, dtype: torch.dtype
    ) -> tuple[Tensor | None, Tensor | None]:
        """What a variant gives to a case, and which rows see something where others do not.

        No result where shapes cannot be.
        """
        known = self.memory.setdefault((self._prints[case], dtype), {})
        key = (variant.names, variant.values)
        if key not in known:
            try:
                state = self._runs(case, dtype).run(variant.steps)
                seen = judged_rows(self.recipe, state) if hides_rows(state) else None
                known[key] = getattr(state, self.recipe.result), seen
            except IMPOSSIBLE:
                known[key] = None, None
        return known[key]

    def _runs(self, case: int, dtype: torch.dtype) -> Runs:
        if (case, dtype) not in self._cast:
            inputs = as_dtype(self.cases[case].inputs, dtype)
            self._cast[case, dtype] = Runs(self.recipe, inputs)
        return self._cast[case, dtype]

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
