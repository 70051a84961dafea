"""Whether two answers are the same, and where they differ most."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eyeline.doctor._cases import Case
from eyeline.doctor.recipe import Recipe, State, Step

__all__ = [
    "EMPTY_ROWS",
    "IMPOSSIBLE",
    "as_dtype",
    "empty_policy",
    "fits",
    "hides_rows",
    "judged_rows",
    "tolerance",
    "worst",
]

EMPTY_ROWS = {
    "nan": "NaN",
    "zero": "0",
    "even": "the mean of all values",
    "unmasked": "what it would be without the mask",
}
"""What a query that may see nothing gets, depending on how masking is done."""


IMPOSSIBLE = (RuntimeError, ValueError, IndexError, TypeError)
"""What a mistake raises where its shapes do not fit a case: there it cannot have been made."""


def tolerance(precise: bool) -> float:
    """How far two results of the same computation may lie apart, relative to the largest."""
    return 1e-7 if precise else 5e-5


def fits(
    recipe: Recipe,
    case: Case,
    answer: Tensor,
    wrong: Mapping[str, Step] | None,
    *,
    right: State,
    precise: bool,
    strict: bool = False,
) -> bool:
    """Whether `answer` is what the recipe, with these steps made otherwise, gives.

    Rows that truly see nothing are not compared (people differ there and all may be right) unless
    `strict`: then they must be 0. What a row that sees nothing gives on to other rows, and rows
    that see nothing only because of the mistake, may follow any of `EMPTY_ROWS`.
    """
    rows = None if strict else judged_rows(recipe, right)
    inputs = as_dtype(case.inputs, answer.dtype)
    for policy in (None, *EMPTY_ROWS):
        steps = wrong
        if policy is not None:  # if it is strict, only rows that should see something have faces
            steps = _with_policy(recipe, wrong or {}, policy, right if strict else None)
        try:
            state = recipe.run(inputs, steps)
        except IMPOSSIBLE:
            return False
        result = getattr(state, recipe.result)
        if result.shape != answer.shape:
            return False
        if _close(answer, result, rows, precise):
            return True
        if not (hides_rows(state) if strict else hides_rows(right) or hides_rows(state)):
            return False
        if strict and torch.equal(state.allowed, right.allowed):
            return False
    return False


def hides_rows(state: State) -> bool:
    """Whether some query sees nothing."""
    allowed = getattr(state, "allowed", None)
    return isinstance(allowed, Tensor) and not bool(allowed.any(-1).all())


def empty_policy(
    recipe: Recipe, case: Case, answer: Tensor, right: State, precise: bool
) -> str | None:
    """What a right answer does in rows that see nothing; None if there are none."""
    rows = judged_rows(recipe, right)
    if rows is None or rows.all():
        return None
    inputs = as_dtype(case.inputs, answer.dtype)
    for policy in EMPTY_ROWS:
        result = getattr(recipe.run(inputs, _with_policy(recipe, {}, policy)), recipe.result)
        if _close(answer, result, ~rows, precise):
            return policy
    return "other"


def judged_rows(recipe: Recipe, state: State) -> Tensor | None:
    """Rows of the result that see something; None where a recipe knows no masks."""
    allowed = getattr(state, "allowed", None)
    if not isinstance(allowed, Tensor):
        return None
    rows = allowed.any(-1)
    while rows.dim() < 3:
        rows = rows[None]
    return rows if getattr(state, recipe.result).dim() == 4 else rows[:, 0]


def worst(answer: Tensor, right: Tensor, rows: Tensor | None) -> tuple[int, ...]:
    """The index at which they differ most; NaN is further away than any number."""
    apart = (answer.double() - right.double()).abs().nan_to_num(nan=torch.inf)
    apart = apart.masked_fill(answer.isnan() & right.isnan(), 0)
    if rows is not None:
        apart = apart.masked_fill(~rows[..., None].expand(apart.shape), -1)
    return tuple(int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))


def _with_policy(
    recipe: Recipe, wrong: Mapping[str, Step], policy: str, right: State = None
) -> dict[str, Step]:
    """The same steps, but rows that see nothing are treated as the policy says."""
    masked = wrong.get("masked", recipe.steps["masked"])
    weights = wrong.get("weights", recipe.steps["weights"])
    filled = {"nan": torch.nan, "zero": 0.0}

    def fill(s: State) -> Tensor:
        instead = s.scaled if policy == "unmasked" else torch.zeros_like(s.scaled)
        return torch.where(hidden(s), instead, masked(s))

    def hidden(s: State) -> Tensor:
        rows = ~s.allowed.any(-1, keepdim=True)
        return rows if right is None else rows & right.allowed.any(-1, keepdim=True)

    def empty(s: State) -> Tensor:
        return weights(s).masked_fill(hidden(s), filled[policy])

    if policy in filled:
        return {**wrong, "weights": empty}
    if "weights" not in wrong:
        # the recipe's own would make the row 0 again
        weights = _softmax_of_what_is_left(right)
    return {**wrong, "masked": fill, "weights": weights}


def _softmax_of_what_is_left(right: State) -> Step:
    def weights(s: State) -> Tensor:
        made = torch.softmax(s.masked, -1)
        if right is None:
            return made
        return made.masked_fill(~right.allowed.any(-1, keepdim=True), 0)

    return weights


def _close(answer: Tensor, result: Tensor, rows: Tensor | None, precise: bool) -> bool:
    if rows is not None:
        rows = rows.expand(result.shape[:-1])
        answer, result = answer[rows], result[rows]
    if not answer.numel():
        return True
    finite = result[result.isfinite()]
    size = max(float(finite.abs().max()), 1.0) if finite.numel() else 1.0
    limit = tolerance(precise) * size
    return torch.allclose(answer, result.to(answer.dtype), rtol=0, atol=limit, equal_nan=True)


def as_dtype(inputs: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The same inputs in the answer's precision: overflow comes where it comes to the candidate."""
    return {
        name: thing.to(dtype) if isinstance(thing, Tensor) and thing.is_floating_point() else thing
        for name, thing in inputs.items()
    }
