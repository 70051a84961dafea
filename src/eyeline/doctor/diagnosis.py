"""What came out of a check: right, or which mistake, with the evidence."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eyeline.doctor.recipe import Mistake

__all__ = ["Diagnosis", "Evidence", "Stage"]

UNKNOWN = "unknown mistake"
NOT_A_NUMBER = "gives NaN"


@dataclass(frozen=True)
class Evidence:
    """One number that is wrong.

    Attributes:
        case: The question.
        index: Where the number stands in what the candidate returned.
        axes: The names of the axes.
        found: The number.
        expected: What it should be.
    """

    case: str
    index: tuple[int, ...]
    axes: tuple[str, ...]
    found: float
    expected: float

    def __str__(self) -> str:
        where = ", ".join(map(str, self.index))
        return (
            f"position [{where}] of [{', '.join(self.axes)}] is {_number(self.found)}, "
            f"expected {_number(self.expected)} ({self.case})"
        )


@dataclass(frozen=True)
class Stage:
    """One stage of a check.

    Attributes:
        name: "shapes", "invariants", "comparison", "search", "bisection".
        ok: Whether nothing is wrong there; None if there was nothing to look at.
        lines: What was seen, a sentence each.
    """

    name: str
    ok: bool | None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What `eyeline.check` found.

    Attributes:
        candidate: The candidate's name.
        what: What it was checked as: "attention".
        ok: Whether it is right.
        problem: What is wrong where it is not a mistake of the catalogue: "raises", "wrong shape",
            "unknown mistake", ….
        explanations: Each is one or two mistakes that, made together, give exactly what the
            candidate gives. More than one stands here where they cannot be told apart.
        same: Mistakes that give the same numbers as one of these, by its name.
        evidence: Numbers that are wrong.
        stages: What was looked at, in order.
        called: How the candidate was called, in words.
        remarks: What is worth knowing though it is not wrong.
    """

    candidate: str
    what: str
    ok: bool
    problem: str | None = None
    explanations: tuple[tuple[Mistake, ...], ...] = ()
    same: Mapping[str, tuple[Mistake, ...]] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    stages: tuple[Stage, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """What is wrong, in a phrase; None if nothing is. Several that fit are joined by "or"."""
        if self.explanations:
            return " or ".join(
                " and ".join(map(self._phrase, together)) for together in self.explanations
            )
        return self.problem

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Every mistake that takes part in an explanation, once."""
        found = [m for together in self.explanations for m in together]
        return tuple(
            {m.name: m for one in found for m in (one, *self.same.get(one.name, ()))}.values()
        )

    def _phrase(self, mistake: Mistake) -> str:
        """A mistake, with those that cannot be told from it."""
        others = self.same.get(mistake.name, ())
        return " / ".join(m.name for m in (mistake, *others))

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain data for JSON; numbers that JSON lacks are strings."""
        return {
            "candidate": self.candidate,
            "what": self.what,
            "ok": self.ok,
            "name": self.name,
            "problem": self.problem,
            "explanations": [[m.to_dict() for m in together] for together in self.explanations],
            "same": {name: [m.to_dict() for m in group] for name, group in self.same.items()},
            "evidence": [
                {
                    "case": e.case,
                    "index": list(e.index),
                    "axes": list(e.axes),
                    "found": _plain(e.found),
                    "expected": _plain(e.expected),
                    "text": str(e),
                }
                for e in self.evidence
            ],
            "stages": [{"name": s.name, "ok": s.ok, "lines": list(s.lines)} for s in self.stages],
            "called": dict(self.called),
            "remarks": list(self.remarks),
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def headline(self) -> str:
        """The verdict in one line."""
        if self.ok:
            return f"{self.candidate}: right ({self.what})"
        return f"{self.candidate}: wrong ({self.what}): {self.name}"

    def __str__(self) -> str:
        lines = [self.headline()]
        lines += [f"  {evidence}" for evidence in self.evidence]
        for number, together in enumerate(self.explanations):
            if len(self.explanations) > 1:
                lines.append(f"  explanation {number + 1} of {len(self.explanations)}:")
            for mistake in together:
                lines.append(f"  {mistake.name}")
                lines.append(f"    often written   {mistake.seen}")
                lines.append(f"    what one sees   {mistake.symptom}")
                lines.append(f"    think           {mistake.fix}")
                if mistake.source:
                    lines.append(f"    source          {mistake.source}")
                for other in self.same.get(mistake.name, ()):
                    lines.append(f"    the same as     {other.name}: {other.seen}")
        if self.called:
            lines.append("  read as: " + "; ".join(f"{k} {v}" for k, v in self.called.items()))
        for stage in self.stages:
            sign = {True: "ok", False: "WRONG", None: "-"}[stage.ok]
            first, *rest = stage.lines or ("",)
            lines.append(f"  {stage.name:<11} {sign:<6} {first}".rstrip())
            lines += [f"{'':21}{line}" for line in rest]
        lines += [f"  note: {remark}" for remark in self.remarks]
        return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
