"""`check`: is this right, and if not, which mistake is it?"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from eyeline._errors import EyelineError, one_line
from eyeline.doctor._attempt import ANOTHER_FORM, NeverEnds
from eyeline.doctor._bisect import bisect
from eyeline.doctor._cases import fingerprint
from eyeline.doctor._compare import EMPTY_ROWS, empty_policy, judged_rows, worst
from eyeline.doctor._convention import Convention, Hypothesis
from eyeline.doctor._explaining import Reading, distinct, explain
from eyeline.doctor._invariants import look
from eyeline.doctor._limits import SECONDS
from eyeline.doctor._search import Judge
from eyeline.doctor.diagnosis import NOT_A_NUMBER, UNKNOWN, Diagnosis, Evidence, Stage
from eyeline.doctor.kinds import Kind, kind_of
from eyeline.doctor.options import Options
from eyeline.doctor.topics.modules import build

__all__ = ["check"]


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
    seconds: float = 20.0,
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
        seconds: How long one call may take before it is stopped (in the main thread of a POSIX
            system; elsewhere there is no limit).

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
    limit = SECONDS.set(seconds)
    try:
        return _check(name, candidate, kind, options)
    except NeverEnds as stopped:
        stage = Stage("shapes", False, (stopped.problem.message,))
        return Diagnosis(name, kind.name, ok=False, problem=stopped.problem.kind, stages=(stage,))
    finally:
        SECONDS.reset(limit)


def _check(name: str, candidate: Callable[..., Any], kind: Kind, options: Options) -> Diagnosis:
    conventions = kind.conventions(name, candidate, options, kind.recipe)
    readings, failed = _run(conventions, options)
    if not readings:
        return _cannot_run(name, kind.name, failed)
    if readings[0].right(True) or readings[0].right(False):
        if readings[0].convention.masks_unused:
            return _mask_not_usable(name, readings[0], kind, failed[0])
        return _right(name, readings, kind)
    return _wrong(name, readings, kind)


def _run(
    conventions: Iterable[Convention], options: Options
) -> tuple[list[Reading], list[Convention]]:
    """What ran, of the first tier in which anything did; and what did not."""
    readings: list[Reading] = []
    failed: list[Convention] = []
    judges: dict[Any, Judge] = {}
    for convention in conventions:  # in the order of their tiers
        if readings and convention.tier > readings[0].convention.tier:
            break
        if not convention.run():
            failed.append(convention)
            continue
        for hypothesis in convention.hypotheses:
            judge = _judge(judges, convention, hypothesis, options)
            reading = Reading(convention, hypothesis, judge)
            readings.append(reading)
            if reading.right(convention.precise) or reading.right(False):
                return [reading, *readings[:-1]], failed
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


def _right(name: str, readings: list[Reading], kind: Kind) -> Diagnosis:
    """All numbers are right; it may still change its inputs or give gradients of NaN."""
    reading = readings[0]
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
        remarks=(*_remarks(reading), *behaviour.remarks, *_wrong_elsewhere(readings)),
    )


def _wrong_elsewhere(readings: list[Reading]) -> list[str]:
    """It ran in another, more general layout as well, and was not right there."""
    right, *others = readings
    layout = right.convention.notes.get("layout")
    others = [r for r in others if r.convention.notes.get("layout") != layout]
    if not others:
        return []
    where = others[0].convention.notes["layout"]
    names = {" and ".join(v.names) for _, v in explain(others).values()}
    what = " or ".join(sorted(names)) or "an unknown mistake"
    return [f"given {where} it runs too and is wrong there: {what}; is {layout} what you mean?"]


def _wrong(name: str, readings: list[Reading], kind: Kind) -> Diagnosis:
    """Which known mistake it is, or where an unknown one lies."""
    only_nan = all(_all_nan(reading.convention) for reading in readings)
    found = {} if only_nan else explain(readings)
    reading = next(iter(found.values()))[0] if found else readings[0]
    convention, judge = reading.convention, reading.judge
    behaviour = look(convention, judge.cases)
    explanations, same = distinct(kind.recipe, [v.mistakes for _, v in found.values()])
    problem = None
    if not found:
        random = behaviour.problem == "another answer each time"
        problem = behaviour.problem if random else NOT_A_NUMBER if only_nan else UNKNOWN
    wrong = judge.wrong_cases(convention.answers, convention.precise)
    names = ", ".join(judge.cases[i].name for i in wrong)
    line = f"wrong in {len(wrong)} of {_cases(_answered(convention))}: {names}"
    stages = [_shapes(convention), behaviour.stage, Stage("comparison", False, (line,))]
    if only_nan:
        line = (
            "every number is NaN: 0/0, ∞ − ∞, the logarithm or root of a negative number, or a "
            "tensor from torch.empty that was never filled"
        )
        stages.append(Stage("search", None, (line,)))
    elif found:
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


def _all_nan(convention: Convention) -> bool:
    """Whether not one number came, to no question."""
    values = [answer.value for answer in convention.answers if answer.value is not None]
    return all(value.dim() and bool(value.isnan().all()) for value in values)


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _search_line(reading: Reading, explanations: tuple[Any, ...]) -> str:
    how = "equals" if len(explanations) == 1 else "cannot be told apart from"
    what = " or ".join(" and ".join(m.name for m in together) for together in explanations)
    return f"{how} {reading.judge.recipe.name} with: {what}"


def _evidence(reading: Reading) -> tuple[Evidence, ...]:
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
        if rows is not None and not judge.strict:  # rows that see nothing are judged apart
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


def _remarks(reading: Reading) -> list[str]:
    """What is worth knowing: rows that see nothing, cases that were refused, warnings."""
    remarks: dict[str, None] = {}
    convention, judge = reading.convention, reading.judge
    for index, (case, answer) in enumerate(zip(judge.cases, convention.answers, strict=True)):
        for warned in answer.warned:
            remarks[f"Python warns: {warned}"] = None
        if answer.printed[0] and not any(r.startswith("it prints") for r in remarks):
            count, beginning = answer.printed
            remarks[f"it prints {count} characters each time: {one_line(beginning)!r}"] = None
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
    if convention.masks_unused:
        remarks["no form of mask worked, so masks were not checked"] = None
    if convention.limit:
        remarks[f"it runs only with {convention.limit}; other sizes were not checked"] = None
    return list(remarks)


def _cannot_run(name: str, what: str, failed: list[Convention]) -> Diagnosis:
    problems = [(one, one.problem.problem) for one in failed if one.problem and one.problem.problem]
    # what it fails at in its own form says more than that it has no other
    convention, problem = min(problems, key=lambda one: one[1].kind == ANOTHER_FORM)
    advice = (
        "if your code wants its inputs otherwise, say how to call it: "
        "check(candidate, adapter=lambda candidate, …: …)"
    )
    stage = Stage("shapes", False, (problem.message, advice))
    return Diagnosis(
        name, what, ok=False, problem=problem.kind, stages=(stage,), called=convention.notes
    )


def _mask_not_usable(name: str, reading: Reading, kind: Kind, failed: Convention) -> Diagnosis:
    """Without a mask it is right; with one it stops, whatever the mask's form."""
    why = failed.problem
    assert why is not None and why.problem is not None
    lines = (
        f"without a mask it is right; with every form of mask that is known here: "
        f"{why.problem.message}",
        "if its mask lies otherwise, say how to give it: check(candidate, adapter="
        "lambda candidate, …, mask: …), where mask is [batch, 1, queries, keys], True = may attend",
    )
    stages = (_shapes(reading.convention), Stage("masks", False, lines))
    return Diagnosis(
        name,
        kind.name,
        ok=False,
        problem="its mask could not be used",
        stages=stages,
        called=reading.called,
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
