"""Ways to read a candidate that ran, and which mistakes explain its answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor

from eyeline.doctor._attempt import Answer, attempt
from eyeline.doctor._cases import Case
from eyeline.doctor._compare import tolerance
from eyeline.doctor._convention import Convention, Hypothesis
from eyeline.doctor._invariants import looks_ahead
from eyeline.doctor._search import Judge
from eyeline.doctor.recipe import Mistake, Recipe, Variant

__all__ = ["Reading", "distinct", "explain"]


@dataclass(frozen=True)
class Reading:
    """A convention under which the candidate ran, with one thing that it may be meant to do."""

    convention: Convention
    hypothesis: Hypothesis
    judge: Judge

    def right(self, precise: bool) -> bool:
        """Whether the answers are right, to double precision or to single."""
        return self.judge.right(self.convention.answers, precise)

    @property
    def called(self) -> dict[str, str]:
        return {**self.convention.notes, **self.hypothesis.notes}


def explain(readings: list[Reading]) -> dict[tuple[str, ...], tuple[Reading, Variant]]:
    """What explains the answers: one mistake rather than two, the likeliest layout first.

    Where the polarity of a mask is not known, explanations under both stand side by side.
    """
    layouts: dict[str, list[Reading]] = {}
    for reading in readings:
        layouts.setdefault(reading.convention.notes.get("layout", ""), []).append(reading)
    likeliest = [_likeliest(group) for group in layouts.values()]
    for pairs, precise in ((False, True), (False, False), (True, False)):
        for group in _apart(likeliest) if pairs else likeliest:
            found: dict[tuple[str, ...], tuple[Reading, Variant]] = {}
            for reading in group:
                answers = reading.convention.answers
                among = _worth(reading) if pairs else None
                for variant in reading.judge.explain(answers, precise, pairs=pairs, among=among):
                    found.setdefault(variant.names, (reading, variant))
            if found:
                return found
    return {}


def _worth(reading: Reading) -> Callable[[Variant], bool] | None:
    """Which pairs are worth trying where a function may be causal by itself, or not; None is all.

    One that looks into the future is either not meant to be causal, or does the causal mask wrong;
    one that does not is meant to be. "Not causal" and something else is that something alone.
    """
    if len(reading.convention.hypotheses) == 1 or "mask" not in reading.judge.cases[0].inputs:
        return None
    causal = bool(reading.judge.cases[0].inputs["is_causal"])
    if not looks_ahead(reading.convention, reading.judge.cases[0]):
        return lambda variant: causal
    if not causal:
        return None
    return lambda variant: "causal" in variant.steps and "not causal" not in variant.names


def _likeliest(group: list[Reading]) -> list[Reading]:
    """Those with the first shape of mask that ran: whoever takes it takes the others too."""
    first = _mask_shape(group[0])
    kept: list[Reading] = []
    for reading in group:
        if _mask_shape(reading) == first and not any(_alike(reading, other) for other in kept):
            kept.append(reading)
    return kept


def _apart(groups: list[list[Reading]]) -> list[list[Reading]]:
    """Without layouts in which the candidate does what it does in an earlier, more general one.

    A function of any leading axes runs in three layouts, and thousands of pairs are tried in each.
    What explains a layout without heads explains one with heads too, where each head is made by
    itself.
    """
    kept: list[list[Reading]] = []
    general: list[Convention] = []  # of those kept, where each head is made by itself
    for group in groups:
        other = group[0].convention
        if any(_agree(one, other.cases, other.answers) for one in general):
            continue
        kept.append(group)
        if len(kept) < len(groups) and _head_by_head(other):
            general.append(other)
    return kept


def _head_by_head(convention: Convention) -> bool:
    """Whether each head of each item comes out as it does alone."""
    cases: list[Case] = []
    answers: list[Answer] = []
    for case, answer in zip(convention.cases, convention.answers, strict=True):
        s = case.inputs
        if answer.value is None or case.optional:
            continue
        if s.get("query") is None or s["num_heads"] != s["num_kv_heads"]:
            return False
        for item, head in product(range(s["batch"]), range(s["num_heads"])):
            alone = {
                name: s[name][item : item + 1, head : head + 1]
                for name in ("query", "key", "value")
            }
            if s["mask"] is not None:
                alone["mask"] = s["mask"][item : item + 1]
            sizes = {"batch": 1, "num_heads": 1, "num_kv_heads": 1, "embed_dim": s["head_dim"]}
            cases.append(replace(case, inputs={**s, **alone, **sizes}))
            answers.append(Answer(answer.value[item : item + 1, head : head + 1]))
    return _agree(convention, cases, answers)


def _agree(convention: Convention, cases: Sequence[Case], answers: Sequence[Answer]) -> bool:
    """Whether this way to call it gives these answers."""
    near = tolerance(precise=False)
    for case, answer in zip(cases, answers, strict=True):
        if answer.value is not None:
            made = attempt(partial(convention.ask, convention.cast(case.inputs))).value
            if made is None or made.shape != answer.value.shape:
                return False
            one, other = made.double(), answer.value.double()
            if not torch.allclose(one, other, rtol=near, atol=near, equal_nan=True):
                return False
    return True


def _mask_shape(reading: Reading) -> str:
    return reading.convention.notes.get("mask", "").partition("[")[2]


def _alike(one: Reading, other: Reading) -> bool:
    """Whether the same was asked and answered: two forms of a mask may mean the same."""
    if one.judge is not other.judge:
        return False
    pairs = zip(one.convention.answers, other.convention.answers, strict=True)
    return all(
        a.value is b.value is None
        or (a.value is not None and b.value is not None and _same_numbers(a.value, b.value))
        for a, b in pairs
    )


def _same_numbers(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(7e77), other.nan_to_num(7e77))


def distinct(
    recipe: Recipe, explanations: Sequence[tuple[Mistake, ...]]
) -> tuple[tuple[tuple[Mistake, ...], ...], dict[str, tuple[Mistake, ...]]]:
    """Explanations that differ, and what is known to give the same numbers as their mistakes."""
    by_name = {mistake.name: mistake for mistake in recipe.mistakes}
    kept: dict[frozenset[str], tuple[Mistake, ...]] = {}
    same: dict[str, tuple[Mistake, ...]] = {}
    for together in explanations:
        key = frozenset(min((m.name, *recipe.same_as(m.name))) for m in together)
        if key not in kept:
            kept[key] = together
            for mistake in together:
                if recipe.same_as(mistake.name):
                    same[mistake.name] = tuple(by_name[n] for n in recipe.same_as(mistake.name))
    return tuple(kept.values()), same
