"""Which mistake is it? The one place that knows how mistakes are recognised.

An exercise brings wrong solutions with names; an output that equals one of theirs on every probe
has that mistake. Where an exercise says how to `examine` it, the doctor is asked next, who knows
more of them, and two at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eyeline._errors import EyelineError
from eyeline.doctor import check
from eyeline.learn.comparing import same
from eyeline.learn.exercise import Exercise, Mistake, Probe

__all__ = ["Named", "diagnose"]


@dataclass(frozen=True)
class Named:
    """A mistake that was recognised.

    Attributes:
        name: What the output equals.
        question: What to ask.
    """

    name: str
    question: str


def diagnose(
    exercise: Exercise,
    probes: Sequence[Probe],
    answers: Sequence[Any],
    answers_of: Callable[[Mistake, Sequence[Probe]], list[dict[str, Any]]],
    ask: Callable[..., Any] | None = None,
) -> Named | None:
    """The mistake whose output the answers are, on every probe; None if none is.

    Args:
        exercise: What was asked.
        probes: The calls.
        answers: What came back for each.
        answers_of: What a mistake answers.
        ask: The learner's own function, as something that can be called with other inputs (it runs
            in their process); None where there are answers only: the doctor is then not asked.
    """
    for mistake in exercise.mistakes:
        # the other functions of the file may not be written yet
        own = [n for n, probe in enumerate(probes) if probe.function == mistake.function]
        made = answers_of(mistake, [probes[n] for n in own])
        pairs = zip([answers[n] for n in own], made, [probes[n] for n in own], strict=True)
        if all(_matches(one, other, probe, exercise.tolerance) for one, other, probe in pairs):
            return Named(mistake.name, mistake.question)
    return None if ask is None else _examine(exercise, ask)


def _examine(exercise: Exercise, ask: Callable[..., Any]) -> Named | None:
    """What the doctor calls it; None where it finds nothing that it has a name for."""
    if exercise.examine is None:
        return None
    try:
        found = check(ask, **exercise.examine)
    except EyelineError:  # it cannot be called as the doctor calls: the probes have said enough
        return None
    if not found.explanations or found.name is None:
        return None
    questions = [mistake.fix for mistake in found.explanations[0]]
    return Named(found.name, " ".join(questions))


def _matches(answer: Any, made: dict[str, Any], probe: Probe, tolerance: float) -> bool:
    if not isinstance(answer, dict) or "error" in answer or "error" in made:
        return isinstance(answer, dict) and "error" in answer and "error" in made
    if "value" not in answer or not same(answer["value"], made["value"], tolerance):
        return False
    return not probe.grad or same(answer.get("grads"), made["grads"], tolerance)
