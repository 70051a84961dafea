"""What must hold for any right implementation, whatever its numbers: looked at by changing inputs.

A later token changes nothing before it, a masked key changes nothing that may not see it, batch
items do not know of each other, keys may come in any order, values of 1 give 1, gradients are
finite, inputs stay as they are, the same question has the same answer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._arrays import from_library, watched
from eyeline.doctor._attempt import attempt
from eyeline.doctor._cases import Case
from eyeline.doctor._compare import tolerance
from eyeline.doctor._convention import Convention
from eyeline.doctor.diagnosis import Stage

__all__ = ["Behaviour", "look", "looks_ahead"]

_SIDES = ("query", "key", "value", "x", "keys_from", "values_from")


@dataclass(frozen=True)
class Behaviour:
    """What was seen of a candidate by changing its inputs.

    Attributes:
        stage: For the diagnosis.
        problem: What is wrong even if all numbers are right; None if nothing is.
        remarks: What is worth knowing.
    """

    stage: Stage
    problem: str | None = None
    remarks: tuple[str, ...] = ()


def look(convention: Convention, cases: tuple[Case, ...]) -> Behaviour:
    """Change inputs in every way that must not matter, and see whether it does.

    Args:
        convention: How the candidate is called.
        cases: The questions, with what the candidate is meant to compute.
    """
    answered = [c for c, a in zip(cases, convention.answers, strict=False) if a.value is not None]
    first = answered[0]
    held: list[str] = []
    broken: list[str] = []
    problem: str | None = None
    for name, sentence in _itself(convention, first):
        held.append(name) if sentence is None else broken.append(sentence)
        problem = problem or (None if sentence is None else name)
    wrong_names = {
        "the same each time": "another answer each time",
        "inputs untouched": "changes its inputs",
    }
    problem = wrong_names.get(problem or "", problem)
    for name, sentence in _others(convention, answered):
        held.append(name) if sentence is None else broken.append(sentence)
    sums = _row_sums(convention, answered)
    if sums is not None:
        held.append("rows sum to 1") if sums == "" else broken.append(sums)
    gradient, remarks = _gradients(convention, answered)
    if gradient is not None:
        held.append("finite gradients") if gradient == "" else broken.append(gradient)
        problem = problem or ("gradients are not finite" if gradient else None)
    lines = broken or [", ".join(held)]
    return Behaviour(Stage("invariants", not broken, tuple(lines)), problem, tuple(remarks))


def looks_ahead(convention: Convention, case: Case) -> bool:
    """Whether the first query's answer depends on the last key."""
    s = case.inputs
    if s["q_len"] < 2:
        return False
    before = _ask(convention, convention.cast(s))
    after = _ask(convention, convention.cast({**s, **_moved(s, -1)}))
    if before is None or after is None:
        return True
    return _apart(convention, before[..., :1, :], after[..., :1, :]) is not None


def _itself(convention: Convention, case: Case) -> Iterator[tuple[str, str | None]]:
    """Whether one call changes its inputs, and whether a second one says the same."""
    inputs = convention.cast(case.inputs)
    with watched() as given:
        one = _ask(convention, inputs, seed=1)
    changed = any(_changed(array, before) for array, before in given)
    yield (
        "inputs untouched",
        "it changes its inputs in place (masked_fill_, +=, or a slice that is written to): work on "
        "a copy, or use masked_fill without the underscore"
        if changed
        else None,
    )
    other = _ask(convention, inputs, seed=2)
    differs = one is not None and other is not None and _apart(convention, one, other) is not None
    yield (
        "the same each time",
        "the same inputs give another answer each time: is dropout on? Give p=0, or training=False"
        if differs
        else None,
    )


def _others(convention: Convention, cases: list[Case]) -> Iterator[tuple[str, str | None]]:
    for name, look_at in _LOOKS.items():
        for case in cases:
            found = look_at(case)
            if found is None:
                continue
            changed, rows, sentence = found
            before = _ask(convention, convention.cast(case.inputs))
            after = _ask(convention, convention.cast({**case.inputs, **changed}))
            if before is None or after is None or before.shape != after.shape:
                break
            apart = _apart(convention, before, after, rows)
            yield name, None if apart is None else f"{sentence}: some outputs change by {apart:.3g}"
            break


# -- each gives changed inputs, the rows of the result that must stay, and a sentence if they do not

Found = tuple[Mapping[str, Any], Tensor | None, str]


def _future(case: Case) -> Found | None:
    s = case.inputs
    if not s.get("is_causal") or s.get("q_len", 1) < 2 or s["q_len"] != s["kv_len"]:
        return None
    rows = torch.arange(s["q_len"]) < s["q_len"] - 1
    return _moved(s, -1), rows, "an earlier token notices when the last one changes"


def _hidden_key(case: Case) -> Found | None:
    s = case.inputs
    mask = s.get("mask")
    if not isinstance(mask, Tensor) or mask.dim() != 4:
        return None
    if s.get("is_causal"):
        mask = mask & torch.ones(mask.shape[-2:], dtype=torch.bool).tril(s["offset"])
    place = int((~mask).sum((0, 1, 2)).argmax())
    rows = ~mask[:, :, :, place] & mask.any(-1)  # [batch, 1, queries]
    if "x" in s and s["q_len"] == s["kv_len"]:
        rows = rows & (torch.arange(s["q_len"]) != place)  # its own query changes as well
    return _moved(s, place), rows, "a masked key is noticed by queries that may not see it"


def _other_items(case: Case) -> Found | None:
    s = case.inputs
    if s.get("batch", 1) < 2 or not any(name in s for name in _SIDES):
        return None
    changed = {}
    for name in _SIDES:
        if isinstance(s.get(name), Tensor):
            changed[name] = s[name].clone()
            changed[name][1:] += 1.5
    rows = torch.zeros(s["batch"], 1, 1, dtype=torch.bool)
    rows[0] = True
    return changed, rows, "one item of the batch notices when another changes"


def _order(case: Case) -> Found | None:
    s = case.inputs
    if "key" not in s or s.get("is_causal", True) or s.get("mask") is not None or "chunks" in s:
        return None
    order = torch.arange(s["kv_len"]).roll(2)
    changed = {"key": s["key"][:, :, order], "value": s["value"][:, :, order]}
    return changed, None, "the order of the keys matters, though nothing tells their positions"


def _ones(case: Case) -> Found | None:
    s = case.inputs
    if "key" not in s or s.get("mask") is not None:
        return None
    return {"value": s["value"] * 0 + 1}, None, ""


def _moved(s: Mapping[str, Any], place: int) -> dict[str, Tensor]:
    """The inputs with the key and value (or the token) at a place changed."""
    changed = {}
    for name in ("key", "value", "x", "keys_from", "values_from"):
        if isinstance(s.get(name), Tensor):
            if name == "x" and s.get("cross"):
                continue
            changed[name] = s[name].clone()
            changed[name][..., place, :] += 1.5
    return changed


_LOOKS: dict[str, Callable[[Case], Found | None]] = {
    "no future seen": _future,
    "masked keys unseen": _hidden_key,
    "batch items apart": _other_items,
    "keys in any order": _order,
}


def _row_sums(convention: Convention, cases: list[Case]) -> str | None:
    """A sentence if weights do not sum to 1: with values of 1 the output is their sum."""
    for case in cases:
        found = _ones(case)
        if found is None:
            continue
        answer = _ask(convention, convention.cast({**case.inputs, **found[0]}))
        if answer is None or not answer.isfinite().all():
            return None
        apart = (answer - 1).abs()
        if apart.max() > 100 * tolerance(convention.precise):
            worst = answer.flatten()[int(apart.argmax())]
            return f"weights of a row do not sum to 1: with all values 1 an output is {worst:.4g}"
        return ""
    return None


def _gradients(convention: Convention, cases: list[Case]) -> tuple[str | None, list[str]]:
    """An empty string if gradients are finite, a sentence if not, None if there are none."""
    remarks: list[str] = []
    seen: str | None = None
    for case in cases:
        if "large" in case.name or "keys" in case.name.split(" ")[-1:]:
            continue
        inputs = convention.cast(case.inputs)
        leaves = {n: inputs[n].clone().requires_grad_() for n in _SIDES if n in inputs}
        if not leaves:
            return None, remarks
        answer = attempt(lambda i={**inputs, **leaves}: convention.ask(i), grad=True).value
        if answer is None or not answer.requires_grad:
            return seen, remarks
        rows = answer.isfinite()
        sums = answer.masked_fill(~rows, 0).sum()
        grads = torch.autograd.grad(sums, list(leaves.values()), allow_unused=True)
        if any(g is not None and not g.isfinite().all() for g in grads):
            if not rows.all() or case.inputs.get("mask") is not None:
                remarks.append("gradients are NaN where some query may see nothing")
                continue
            return f"gradients are not finite ({case.name})", remarks
        seen = ""
    return seen, remarks


def _ask(convention: Convention, inputs: Mapping[str, Any], seed: int = 0) -> Tensor | None:
    def call() -> Tensor:
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # the above notes where it was called, for accelerators that may come: up to 5 ms
            torch.default_generator.manual_seed(seed)
        return convention.ask(inputs)

    return attempt(call).value


def _apart(
    convention: Convention, one: Tensor, other: Tensor, rows: Tensor | None = None
) -> float | None:
    """How far two answers lie apart in these rows, if they do."""
    apart = (one.double() - other.double()).abs().nan_to_num(nan=0.0)
    if rows is not None:
        while rows.dim() > apart.dim() - 1:
            rows = rows.squeeze(1)
        apart = apart * rows.expand(apart.shape[:-1])[..., None]
    most = float(apart.max()) if apart.numel() else 0.0
    size = max(float(one.nan_to_num(0, 0, 0).abs().max()), 1.0) if one.numel() else 1.0
    return most if most > 10 * tolerance(convention.precise) * size else None


def _changed(array: Any, before: Tensor) -> bool:
    now = from_library(array)
    return now is not None and not torch.allclose(
        now.detach().double(), before.double(), rtol=0, atol=0, equal_nan=True
    )
