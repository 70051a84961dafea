"""An unknown mistake: between which two steps does it lie, and what is the smallest case of it?

Where a candidate returns what lies between (a dict with `scores`, `weights`, …), these are
compared in order. Else its weights are made visible: with values that are unit vectors, the output
of attention *is* the weights.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._arrays import from_library
from eyeline.doctor._attempt import attempt
from eyeline.doctor._cases import Case, Sizes, attention_inputs
from eyeline.doctor._compare import tolerance
from eyeline.doctor._convention import Convention
from eyeline.doctor._search import Judge
from eyeline.doctor.diagnosis import Stage

__all__ = ["bisect"]


def bisect(convention: Convention, judge: Judge) -> Stage:
    """Where the mistake lies, as far as that can be seen.

    Args:
        convention: How the candidate is called.
        judge: What is right in the cases.
    """
    lines = list(_trace(convention, judge))
    if not lines and judge.recipe.name == "attention":
        lines = list(_weights(convention, judge))
    if judge.recipe.name == "attention":
        lines += _smallest(convention, judge)
    return Stage("bisection", None if not lines else False, tuple(lines))


def _trace(convention: Convention, judge: Judge) -> Iterator[str]:
    """The first step that is wrong, where the candidate tells its steps."""
    for case, right in zip(judge.cases, judge.rights, strict=True):
        returned = _raw(convention, case)
        if not isinstance(returned, Mapping):
            return
        told = {n: from_library(t) for n, t in returned.items() if n in judge.recipe.steps}
        good = []
        for name in judge.recipe.steps:
            mine, theirs = told.get(name), getattr(right, name, None)
            if mine is None or not isinstance(theirs, Tensor):
                continue
            if _same(mine, theirs, convention.precise):
                good.append(name)
                continue
            before = f"; {', '.join(good)} are right" if good else ""
            yield f"the first step that is wrong is “{name}” ({case.name}){before}"
            return


def _raw(convention: Convention, case: Case) -> Any:
    kept: list[Any] = []

    def call() -> Tensor:
        kept.append(convention.call(convention.cast(case.inputs)))
        return torch.zeros(())

    attempt(call)
    return kept[0] if kept else None


def _weights(convention: Convention, judge: Judge) -> Iterator[str]:
    """What can be said of the weights, with values that are unit vectors."""
    inputs = dict(_unit_values(judge.cases[0].inputs, square=convention.tier == 2))
    right = judge.recipe.run(inputs)
    answer = attempt(lambda: convention.ask(convention.cast(inputs))).value
    if answer is None or answer.shape != right.weights.shape:
        return
    if _same(answer, right.weights, convention.precise):
        yield "the weights are right (values that are unit vectors show them): look at what follows"
        return
    sums = answer.sum(-1)
    if not _same(sums, torch.ones_like(sums), convention.precise):
        yield f"the weights are wrong, and rows of them do not sum to 1 but to {_range(sums)}"
        return
    yield "the weights are wrong though each row sums to 1: look at the scores, before softmax"
    live = right.allowed.expand_as(answer)
    if not bool((answer[~live].abs() < 1e-6).all()):
        yield "some weight falls on keys that may not be seen"
    elif bool((answer[live] > 0).all()):
        yield from _factor(answer, right, live, inputs["scale"])


def _factor(answer: Tensor, right: Any, live: Tensor, scale: float) -> Iterator[str]:
    """Whether the scores are the right ones times some number: softmax tells them by row."""
    logs = answer.log().masked_fill(~live, 0)
    theirs = right.scores.masked_fill(~live, 0)
    counts = live.sum(-1, keepdim=True)
    logs = (logs - logs.sum(-1, keepdim=True) / counts).masked_fill(~live, 0)
    theirs = (theirs - theirs.sum(-1, keepdim=True) / counts).masked_fill(~live, 0)
    factor = float((logs * theirs).sum() / (theirs * theirs).sum())
    if float((logs - factor * theirs).abs().max()) < 1e-4:
        yield f"scores are multiplied by {factor:.4g}, expected {scale:.4g}"


def _unit_values(s: Mapping[str, Any], *, square: bool) -> Mapping[str, Any]:
    sizes = Sizes(s["batch"], s["num_heads"], s["num_kv_heads"], 4 if square else 3, 4, 4, 4)
    made = attention_inputs(
        sizes, seed=200, is_causal=s["is_causal"], bottom_right=s["offset"] > 0, scale=s["scale"]
    )
    shape = made["value"].shape
    return {**made, "value": torch.eye(4, dtype=torch.float64).expand(shape).clone()}


def _smallest(convention: Convention, judge: Judge) -> Iterator[str]:
    """The smallest sizes at which the candidate is wrong."""
    s = judge.cases[0].inputs
    if s["num_heads"] != s["num_kv_heads"]:
        return
    for batch, heads, q_len, kv_len, width in (
        (1, 1, 1, 1, 1),
        (1, 1, 1, 2, 1),
        (1, 1, 2, 2, 1),
        (1, 1, 1, 2, 2),
        (1, 1, 2, 2, 2),
        (1, 2, 2, 2, 2),
        (2, 1, 2, 2, 2),
        (2, 2, 2, 3, 2),
        (2, 3, 5, 5, 4),
    ):
        if (convention.tier == 2 or s["offset"]) and q_len != kv_len:
            continue
        batch, heads = min(batch, s["batch"]), min(heads, s["num_heads"])
        sizes = Sizes(batch, heads, heads, q_len, kv_len, width, width)
        inputs = attention_inputs(sizes, seed=210, is_causal=s["is_causal"])
        right = getattr(judge.recipe.run(inputs), judge.recipe.result)
        answer = attempt(lambda i=inputs: convention.ask(convention.cast(i))).value
        if answer is None:
            continue
        if answer.shape != right.shape or not _same(answer, right, convention.precise):
            yield (
                f"smallest failing shape: batch {batch}, heads {heads}, "
                f"queries {q_len}, keys {kv_len}, width {width}"
            )
            return


def _range(numbers: Tensor) -> str:
    low, high = float(numbers.min()), float(numbers.max())
    return f"{low:.4g}" if abs(high - low) < 1e-6 else f"between {low:.4g} and {high:.4g}"


def _same(one: Tensor, other: Tensor, precise: bool) -> bool:
    if one.shape != other.shape:
        return False
    finite = other[other.isfinite()]
    size = max(float(finite.abs().max()), 1.0) if finite.numel() else 1.0
    limit = tolerance(precise) * size
    # a large negative number does the work of minus infinity
    one = one.double().masked_fill(one < -1e4, -torch.inf)
    return torch.allclose(one, other.double(), rtol=0, atol=limit, equal_nan=True)
