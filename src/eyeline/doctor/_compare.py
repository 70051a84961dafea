"""Whether two answers are the same, and where they differ most."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eyeline.doctor._cases import Case
from eyeline.doctor.recipe import Recipe, State, Step

__all__ = ["EMPTY_ROWS", "IMPOSSIBLE", "empty_policy", "fits", "judged_rows", "tolerance", "worst"]

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
    `strict`; rows that see nothing only because of the mistake may be any of `EMPTY_ROWS`.
    """
    try:
        inputs = _like(case.inputs, answer.dtype)
        state = recipe.run(inputs, wrong)
        result = getattr(state, recipe.result)
    except IMPOSSIBLE:
        return False
    if result.shape != answer.shape:
        return False
    rows = judged_rows(recipe, right)
    mine = judged_rows(recipe, state)
    everywhere = rows if mine is None or rows is None else rows & mine
    if not _close(answer, result, everywhere, precise):
        return False
    if rows is None or mine is None:
        return True
    if strict and wrong is None and not _all_zero(answer, ~rows):
        return False
    hidden = rows & ~mine
    if not hidden.expand(result.shape[:-1]).any():
        return True
    return _policy(recipe, inputs, wrong, answer, hidden, result, precise) is not None


def empty_policy(
    recipe: Recipe, case: Case, answer: Tensor, right: State, precise: bool
) -> str | None:
    """What a right answer does in rows that see nothing; None if there are none."""
    rows = judged_rows(recipe, right)
    if rows is None or rows.all():
        return None
    inputs = _like(case.inputs, answer.dtype)
    result = getattr(right, recipe.result).to(answer.dtype)
    return _policy(recipe, inputs, None, answer, ~rows, result, precise) or "other"


def judged_rows(recipe: Recipe, state: State) -> Tensor | None:
    """Rows of the result that see something; None where a recipe knows no masks."""
    allowed = getattr(state, "allowed", None)
    if allowed is None:
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


def _policy(
    recipe: Recipe,
    inputs: Mapping[str, Any],
    wrong: Mapping[str, Step] | None,
    answer: Tensor,
    hidden: Tensor,
    result: Tensor,
    precise: bool,
) -> str | None:
    """Which of `EMPTY_ROWS` the answer follows in the rows `hidden`."""
    if _all_nan(answer, hidden) or _close(answer, result, hidden, precise):
        return "nan"
    for policy in ("even", "unmasked", "zero"):
        steps = _with_policy(recipe, wrong or {}, policy)
        result = getattr(recipe.run(inputs, steps), recipe.result)
        if result.shape == answer.shape and _close(answer, result, hidden, precise):
            return policy
    return None


def _with_policy(recipe: Recipe, wrong: Mapping[str, Step], policy: str) -> dict[str, Step]:
    """The same steps, but rows that see nothing are treated as the policy says."""
    masked = wrong.get("masked", recipe.steps["masked"])
    weights = wrong.get("weights", recipe.steps["weights"])

    def fill(s: State) -> Tensor:
        instead = s.scaled if policy == "unmasked" else torch.zeros_like(s.scaled)
        return torch.where(s.allowed.any(-1, keepdim=True), masked(s), instead)

    def empty(s: State) -> Tensor:
        made = weights(s)
        return made.masked_fill(~s.allowed.any(-1, keepdim=True), 0) if policy == "zero" else made

    return {**wrong, "masked": fill, "weights": empty}


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


def _all_zero(answer: Tensor, rows: Tensor) -> bool:
    return bool((answer[rows.expand(answer.shape[:-1])] == 0).all())


def _all_nan(answer: Tensor, rows: Tensor) -> bool:
    return bool(answer[rows.expand(answer.shape[:-1])].isnan().all())


def _like(inputs: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The same inputs in the answer's precision: overflow comes where it comes to the candidate."""
    return {
        name: thing.to(dtype) if isinstance(thing, Tensor) and thing.is_floating_point() else thing
        for name, thing in inputs.items()
    }
