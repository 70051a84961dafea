"""`check`: is this right, and if not, which mistake is it?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eyeline._errors import EyelineError
from eyeline.doctor._bisect import bisect
from eyeline.doctor._cases import fingerprint
from eyeline.doctor._compare import EMPTY_ROWS, empty_policy, judged_rows, worst
from eyeline.doctor._convention import Convention, Hypothesis
from eyeline.doctor._invariants import look, looks_ahead
from eyeline.doctor._search import Judge
from eyeline.doctor.diagnosis import UNKNOWN, Diagnosis, Evidence, Stage
from eyeline.doctor.kinds import Kind, kind_of
from eyeline.doctor.options import Options
from eyeline.doctor.recipe import Mistake, Recipe, Variant
from eyeline.doctor.topics.modules import build

__all__ = ["check"]


@dataclass(frozen=True)
class _Reading:
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


def check(
    candidate: Callable[..., Any],
    what: str | None = None,
    *,
    adapter: Callable[..., Any] | None = None,
    layout: str | None = None,
    mask: str | None = None,
    causal: bool | str | None = None,
    scale: float | None = None,
    num_heads: int | None = None,
    weights: Mapping[str, Tensor] | None = None,
    norm_first: bool | None = None,
    pairing: str | None = None,
    base: float | None = None,
    arrays: str | None = None,
    empty_rows: str | None = None,
) -> Diagnosis:
    """Whether an implementation is right; if not, which known mistake it equals.

    Args:
        candidate: A function, or a module with its weights. It is called, never changed.
        what: What it should compute, a name of `eyeline.doctor.KINDS`. Default: as its parameters
            or its name say.
        adapter: How to call it where its signature cannot be mapped: a function of the candidate
            and the inputs of its kind (`eyeline.doctor.KINDS[what].signature`).
        layout: "BHLD", "BLHD", "BLD" or "LD"; default: whichever works.
        mask: "attend" (True = may attend), "ignore" (True = must not), "add" (to the scores) or
            "ones" (1 = may attend); default: whichever is right.
        causal: Whether it is causal by itself; "top-left" or "bottom-right" say where a causal mask
            is aligned when there are fewer queries than keys. Default: whichever is right.
        scale: What scores are multiplied with. Default: `1 / sqrt(head_dim)`.
        num_heads: Of a module that does not say it.
        weights: A module's projections by name (query, key, value, output), `[out, in]` each, where
            they cannot be found.
        norm_first: Of a block; default: whichever is right.
        pairing: Of rotary positions and sinusoids: "interleaved" or "halves"; default: whichever.
        base: Of rotary positions and sinusoids; default 10000.
        arrays: "torch", "numpy" or "jax"; default: as its source says.
        empty_rows: "zero": a query that may see nothing must get 0. Default: it is only remarked.

    Returns:
        The diagnosis: `.ok`, `.name`, `.evidence`, `.stages`.

    Raises:
        EyelineError: It could not be checked: nobody knows what it is or how to call it, or it
            needs a device that is not here.

    Example:
        >>> import torch, eyeline
        >>> def mine(q, k, v):
        ...     return torch.softmax(q @ k.transpose(-2, -1), -1) @ v
        >>> eyeline.check(mine).name
        'not scaled'
    """
    options = Options(
        adapter, layout, mask, causal, scale, num_heads, weights, norm_first, pairing, base, arrays,
        empty_rows,
    )  # fmt: skip
    name = _name(candidate)
    if isinstance(candidate, type) and issubclass(candidate, nn.Module):
        candidate = build(candidate)
    kind = kind_of(candidate, name, what)
    options.only(f"what={kind.name!r}", kind.states)
    conventions = list(kind.conventions(name, candidate, options, kind.recipe))
    readings, failed = _run(conventions, options)
    if not readings:
        return _cannot_run(name, kind.name, failed)
    if len(readings) == 1 and (readings[0].right(True) or readings[0].right(False)):
        return _right(name, readings[0], kind)
    return _wrong(name, readings, kind)


def _run(
    conventions: list[Convention], options: Options
) -> tuple[list[_Reading], list[Convention]]:
    """What ran, of the first tier in which anything did; and what did not."""
    readings: list[_Reading] = []
    failed: list[Convention] = []
    judges: dict[Any, Judge] = {}
    for tier in sorted({c.tier for c in conventions}):
        for convention in conventions:
            if convention.tier != tier:
                continue
            if not convention.run():
                failed.append(convention)
                continue
            for hypothesis in convention.hypotheses:
                judge = _judge(judges, convention, hypothesis, options)
                reading = _Reading(convention, hypothesis, judge)
                readings.append(reading)
                if reading.right(convention.precise) or reading.right(False):
                    return [reading], failed
        if readings:
            break
    return readings, failed


def _judge(
    judges: dict[Any, Judge], convention: Convention, hypothesis: Hypothesis, options: Options
) -> Judge:
    """One judge for all conventions with the same questions."""
    key = tuple((case.name, fingerprint(case)) for case in hypothesis.cases)
    if key not in judges:
        memory = next(iter(judges.values())).memory if judges else None
        strict = options.empty_rows == "zero"
        judges[key] = Judge(convention.recipe, hypothesis.cases, strict=strict, memory=memory)
    return judges[key]


def _right(name: str, reading: _Reading, kind: Kind) -> Diagnosis:
    """All numbers are right; it may still change its inputs or give gradients of NaN."""
    convention = reading.convention
    behaviour = look(convention, reading.judge.cases)
    comparison = Stage("comparison", True, (f"right in {_cases(_answered(convention))}",))
    return Diagnosis(
        name,
        kind.name,
        ok=behaviour.problem is None,
        problem=behaviour.problem,
        stages=(_shapes(convention), behaviour.stage, comparison),
        called=reading.called,
        remarks=(*_remarks(reading), *behaviour.remarks),
    )


def _wrong(name: str, readings: list[_Reading], kind: Kind) -> Diagnosis:
    """Which known mistake it is, or where an unknown one lies."""
    found = _explanations(readings)
    reading = next(iter(found.values()))[0] if found else readings[0]
    convention, judge = reading.convention, reading.judge
    behaviour = look(convention, judge.cases)
    explanations, same = _distinct(kind.recipe, [v.mistakes for _, v in found.values()])
    problem = None
    if not found:
        random = behaviour.problem == "another answer each time"
        problem = behaviour.problem if random else UNKNOWN
    wrong = judge.wrong_cases(convention.answers, convention.precise)
    names = ", ".join(judge.cases[i].name for i in wrong)
    line = f"wrong in {len(wrong)} of {_cases(_answered(convention))}: {names}"
    stages = [_shapes(convention), behaviour.stage, Stage("comparison", False, (line,))]
    if found:
        stages.append(Stage("search", False, (_search_line(reading, explanations),)))
    else:
        line = "no known mistake, and no two of them, give these numbers"
        stages += [Stage("search", None, (line,)), bisect(convention, judge)]
    return Diagnosis(
        name,
        kind.name,
        ok=False,
        problem=problem,
        explanations=explanations,
        same=same,
        evidence=_evidence(reading),
        stages=tuple(stages),
        called=reading.called,
        remarks=(*_remarks(reading), *behaviour.remarks),
    )


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _explanations(readings: list[_Reading]) -> dict[tuple[str, ...], tuple[_Reading, Variant]]:
    """What explains the answers: one mistake rather than two, the likeliest layout first."""
    layouts: dict[str, list[_Reading]] = {}
    for reading in readings:
        layouts.setdefault(reading.convention.notes.get("layout", ""), []).append(reading)
    likeliest = [_likeliest(group) for group in layouts.values()]
    for pairs, precise in ((False, True), (False, False), (True, False)):
        for group in likeliest:
            found: dict[tuple[str, ...], tuple[_Reading, Variant]] = {}
            for reading in group:
                answers = reading.convention.answers
                among = _worth(reading) if pairs else (lambda variant: True)
                for variant in reading.judge.explain(answers, precise, pairs=pairs, among=among):
                    found.setdefault(variant.names, (reading, variant))
            if found:
                return found
    return {}


def _worth(reading: _Reading) -> Callable[[Variant], bool]:
    """Which pairs are worth trying where a function may be causal by itself, or not.

    One that looks into the future is either not meant to be causal, or does the causal mask wrong;
    one that does not is meant to be. "Not causal" and something else is that something alone.
    """
    if len(reading.convention.hypotheses) == 1 or "mask" not in reading.judge.cases[0].inputs:
        return lambda variant: True
    causal = bool(reading.judge.cases[0].inputs["is_causal"])
    if not looks_ahead(reading.convention, reading.judge.cases[0]):
        return lambda variant: causal
    if not causal:
        return lambda variant: True
    return lambda variant: "causal" in variant.steps and "not causal" not in variant.names


def _likeliest(group: list[_Reading]) -> list[_Reading]:
    """Those with the first shape of mask that ran: whoever takes it takes the others too."""
    first = group[0].convention.notes.get("mask", "").split("[")[-1]
    kept: list[_Reading] = []
    for reading in group:
        shape = reading.convention.notes.get("mask", "").split("[")[-1]
        if shape == first and not any(_alike(reading, other) for other in kept):
            kept.append(reading)
    return kept


def _alike(one: _Reading, other: _Reading) -> bool:
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


def _distinct(
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


def _search_line(reading: _Reading, explanations: tuple[Any, ...]) -> str:
    how = "equals" if len(explanations) == 1 else "cannot be told apart from"
    what = " or ".join(" and ".join(m.name for m in together) for together in explanations)
    return f"{how} {reading.judge.recipe.name} with: {what}"


def _evidence(reading: _Reading) -> tuple[Evidence, ...]:
    """The worst number of the first case that is wrong."""
    convention, judge = reading.convention, reading.judge
    for index in judge.wrong_cases(convention.answers, convention.precise):
        answer = convention.answers[index].value
        assert answer is not None
        state = judge.rights[index]
        right = getattr(state, judge.recipe.result)
        if right.shape != answer.shape:
            continue
        rows = judged_rows(judge.recipe, state)
        if rows is not None:  # rows that see nothing are judged apart
            hide = ~rows[..., None].expand(right.shape)
            answer, right = answer.masked_fill(hide, 0), right.masked_fill(hide, 0)
        mine, axes = convention.native(answer)
        theirs, _ = convention.native(right)
        at = worst(mine, theirs, None)
        return (Evidence(judge.cases[index].name, at, axes, float(mine[at]), float(theirs[at])),)
    return ()


def _shapes(convention: Convention) -> Stage:
    answer = next(a.value for a in convention.answers if a.value is not None)
    native, axes = convention.native(answer)
    sizes = ", ".join(f"{n} {length}" for n, length in zip(axes, native.shape, strict=True))
    return Stage("shapes", True, (f"[{sizes}]",))


def _answered(convention: Convention) -> int:
    return sum(a.value is not None for a in convention.answers)


def _remarks(reading: _Reading) -> list[str]:
    """What is worth knowing: rows that see nothing, cases that were refused, warnings."""
    remarks: dict[str, None] = {}
    convention, judge = reading.convention, reading.judge
    for index, (case, answer) in enumerate(zip(judge.cases, convention.answers, strict=True)):
        for warned in answer.warned:
            remarks[f"Python warns: {warned}"] = None
        if answer.value is None:
            assert answer.problem is not None
            remarks[f"not checked with {case.name}: {answer.problem.message}"] = None
            continue
        right = judge.rights[index]
        if answer.value.shape == getattr(right, judge.recipe.result).shape:
            policy = empty_policy(judge.recipe, case, answer.value, right, convention.precise)
            if policy in ("even", "unmasked", "nan"):
                remarks[
                    f"a query that may see nothing gets {EMPTY_ROWS[policy]}; "
                    "torch's scaled_dot_product_attention and eyeline give 0"
                ] = None
    if not reading.right(True) and reading.right(False) and convention.precise:
        remarks["right to single precision: some of it is computed in float32"] = None
    if convention.limit:
        remarks[f"it runs only with {convention.limit}; other sizes were not checked"] = None
    return list(remarks)


def _cannot_run(name: str, what: str, failed: list[Convention]) -> Diagnosis:
    problem = failed[0].problem
    assert problem is not None and problem.problem is not None
    advice = (
        "if your code wants its inputs otherwise, say how to call it: "
        "check(candidate, adapter=lambda candidate, …: …)"
    )
    stage = Stage("shapes", False, (problem.problem.message, advice))
    return Diagnosis(
        name, what, ok=False, problem=problem.problem.kind, stages=(stage,), called=failed[0].notes
    )


def _name(candidate: Any) -> str:
    if not callable(candidate):
        raise EyelineError(
            f"{type(candidate).__name__} cannot be called: give the function or the module itself, "
            "check(my_attention), not what it returns"
        )
    if isinstance(candidate, nn.Module):
        return type(candidate).__name__
    return getattr(candidate, "__name__", None) or type(candidate).__name__
