"""Is it right? And if not: which mistake is it? The expected values never leave this process."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Literal

import torch
from torch import Tensor

from eyeline.learn.comparing import Difference, same, where_differs
from eyeline.learn.diagnosing import diagnose
from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe
from eyeline.learn.sandbox import Call, Opaque, Reply, Sandbox
from eyeline.learn.wording import explain_error, explain_stop

__all__ = ["Verdict", "answers_of", "compare", "judge", "probes_of"]

FIXED_SEED = 20170612
"""The probes that a failure is explained with are the same at every run."""

Kind = Literal["passed", "unsolved", "error", "stopped", "shortcut", "changed", "wrong"]


@dataclass(frozen=True)
class Verdict:
    """What the check found.

    Attributes:
        kind: "passed"; "unsolved"; "error": it raised; "stopped": it took too much; "shortcut": it
            uses what it should write; "changed": it changed its inputs; "wrong".
        headline: One sentence.
        mistake: The name of the mistake, where it is known.
        evidence: Numbers, lines of code.
        question: What to think about next.
        printed: What the learner's code printed.
    """

    kind: Kind
    headline: str
    mistake: str | None = None
    evidence: tuple[str, ...] = ()
    question: str | None = None
    printed: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is right."""
        return self.kind == "passed"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "ok": self.ok,
            "kind": self.kind,
            "headline": self.headline,
            "mistake": self.mistake,
            "evidence": list(self.evidence),
            "question": self.question,
            "printed": self.printed,
        }


def judge(exercise: Exercise, source: str, path: str, box: Sandbox) -> Verdict:
    """Run a learner's file in `box` and compare what it returns.

    Args:
        exercise: What it should do.
        source: The text of the file.
        path: Where it stands, for messages.
        box: A process that has run nothing of theirs yet.
    """
    if (shortcut := _shortcut(exercise, source)) is not None:
        return shortcut
    probes = probes_of(exercise)
    loaded = box.load(source, path)
    if (stopped := _stopped(loaded, box)) is not None:
        return stopped
    if "error" in _dict(loaded.answer):
        return _error(loaded.answer["error"], loaded.printed)
    calls = [Call(p.function or exercise.function, p.args, p.kwargs, p.grad) for p in probes]
    reply = box.call(calls)
    if (stopped := _stopped(reply, box)) is not None:
        return stopped
    printed = loaded.printed + reply.printed
    answers = reply.answer if isinstance(reply.answer, list) else []
    if len(answers) != len(probes):
        return Verdict("stopped", "The process did not answer what it was asked.", printed=printed)
    ask = _asking(exercise, box)
    return compare(exercise, probes, answers, printed, ask)


def probes_of(exercise: Exercise) -> list[Probe]:
    """The calls to compare: some are always the same, the last are new at every run."""
    fresh = int(torch.randint(1 << 40, (), dtype=torch.int64, generator=_entropy()))
    return [*exercise.probes(Draw(FIXED_SEED)), *exercise.probes(Draw(fresh))]


def answers_of(
    exercise: Exercise, mistake: Mistake | None, probes: Sequence[Probe]
) -> list[dict[str, Any]]:
    """What the solution, or a mistake in it, answers; in this process, so never a learner's."""
    answers = []
    for probe in probes:
        function = exercise.solve(probe.function)
        if mistake is not None and probe.function == mistake.function:
            function = mistake.wrong
        answers.append(run_probe(function, probe))
    return answers


def compare(
    exercise: Exercise,
    probes: Sequence[Probe],
    answers: Sequence[Any],
    printed: str = "",
    ask: Callable[..., Any] | None = None,
) -> Verdict:
    """Compare answers with what the solution gives, and name the mistake.

    Args:
        exercise: What was asked.
        probes: The calls.
        answers: What came back for each: data that is believed nothing.
        printed: What was printed meanwhile.
        ask: Calls the learner's function once more, for a diagnosis.
    """
    expected = answers_of(exercise, None, probes)
    for probe, answer, right in zip(probes, map(_dict, answers), expected, strict=True):
        if "missing" in answer:
            return Verdict(
                "error",
                f"There is no function {probe.function or exercise.function} in your file.",
                question="Was it renamed? `eyeline practice reset` brings the file back as it was.",
                printed=printed,
            )
        several = f"{probe.function or exercise.function}: " if exercise.others else ""
        if "error" in answer:
            return _error(answer["error"], printed, _shapes(probe), several)
        axes = exercise.axes if probe.function is None else ()
        differs = where_differs(
            answer.get("value"), right["value"], axes, several, exercise.tolerance
        )
        if differs is not None:
            return _wrong(exercise, probes, answers, differs, printed, ask)
        if probe.grad:
            grads = answer.get("grads")
            differs = where_differs(grads, right["grads"], (), "gradient ", exercise.tolerance)
            if differs is not None:
                return _wrong(exercise, probes, answers, differs, printed, ask)
        if not same(list(answer.get("inputs") or ()), list(probe.args), exact=True):
            return Verdict(
                "changed",
                "The result is right, but your function changed its inputs.",
                evidence=("Whoever called it still needs them.",),
                question="Which line writes into an argument? (+=, masked_fill_, x[...] = …)",
                printed=printed,
            )
    return Verdict("passed", "Right.", printed=printed)


def _wrong(
    exercise: Exercise,
    probes: Sequence[Probe],
    answers: Sequence[Any],
    differs: Difference,
    printed: str,
    ask: Callable[..., Any] | None,
) -> Verdict:
    found = diagnose(exercise, probes, answers, partial(answers_of, exercise), ask)
    if found is None:
        headline = f"Not yet: {differs.summary}."
        return Verdict("wrong", headline, None, differs.evidence, differs.question, printed)
    return Verdict(
        "wrong",
        f"Your output equals {found.name}.",
        found.name,
        (f"{differs.summary[0].upper()}{differs.summary[1:]}.", *differs.evidence),
        found.question,
        printed,
    )


def run_probe(function: Any, probe: Probe) -> dict[str, Any]:
    """Call a function of ours with a probe: value, gradients, inputs as they are afterwards.

    A function that raises gives `{"error": …}`.
    """
    try:
        return _run(function, probe)
    except Exception as error:
        return {"error": {"type": type(error).__name__}}


def _run(function: Any, probe: Probe) -> dict[str, Any]:
    args = [_copy(one) for one in probe.args]
    leaves = [one for one in args if isinstance(one, Tensor) and one.is_floating_point()]
    if probe.grad:
        leaves = [one.requires_grad_() for one in leaves]
    value = function(*args, **{name: _copy(one) for name, one in probe.kwargs.items()})
    answer: dict[str, Any] = {"value": value}
    if probe.grad:
        value.sum().backward()
        answer["value"] = value.detach()
        answer["grads"] = [one.grad for one in leaves]
    answer["inputs"] = [one.detach() if isinstance(one, Tensor) else one for one in args]
    return answer


def _copy(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.clone()
    if isinstance(data, dict):
        return {name: _copy(one) for name, one in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(_copy(one) for one in data)
    return data


def _asking(exercise: Exercise, box: Sandbox) -> Callable[..., Any]:
    """The learner's function as one of ours: it has its signature; data go there and come back."""

    @wraps(exercise.solution)
    def ask(*args: Any, **kwargs: Any) -> Any:
        reply = box.call([Call(exercise.function, args, kwargs)])
        answer = reply.answer[0] if isinstance(reply.answer, list) and reply.answer else None
        if not isinstance(answer, dict) or "value" not in answer:
            raise RuntimeError(f"{exercise.function} gave no value ({reply.stopped or answer})")
        return answer["value"]

    return ask


def _shortcut(exercise: Exercise, source: str) -> Verdict | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # the process will say it better, with the line
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
        if name in exercise.without and isinstance(node, ast.Attribute | ast.Name):
            return Verdict(
                "shortcut",
                f"Line {node.lineno} uses {name}: that is what you are writing here.",
                question="What would be inside it?",
            )
    return None


def _stopped(reply: Reply, box: Sandbox) -> Verdict | None:
    if reply.stopped is None:
        return None
    headline, question = explain_stop(reply, box.limits)
    return Verdict("stopped", headline, question=question, printed=reply.printed[:2000])


def _error(error: Any, printed: str, shapes: tuple[str, ...] = (), function: str = "") -> Verdict:
    told = _dict(error)
    if told.get("type") == "NotImplementedError":
        question = "Replace the line with raise NotImplementedError by your code."
        headline = f"{function}not written yet." if function else "Not written yet."
        return Verdict("unsolved", headline, question=question, printed=printed)
    headline, evidence, question = explain_error(told)
    return Verdict("error", headline, None, (*evidence, *shapes), question, printed)


def _shapes(probe: Probe) -> tuple[str, ...]:
    shapes = [str(list(one.shape)) for one in probe.args if isinstance(one, Tensor)]
    return (f"It was called with tensors of shape {', '.join(shapes)}.",) if shapes else ()


def _dict(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {"value": Opaque("nothing of the protocol")}


def _entropy() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator
