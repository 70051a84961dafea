"""One check of one file: judged, remembered, and on a pass shown at work."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eyeline.learn.judging import Verdict, judge
from eyeline.learn.master import Master
from eyeline.learn.practice.workspace import Workspace
from eyeline.learn.rewards.shown import Shown
from eyeline.learn.sandbox import Sandbox

__all__ = ["Checked", "check"]


@dataclass(frozen=True)
class Checked:
    """What came of a check.

    Attributes:
        master: The exercise.
        verdict: Whether it is right.
        example: What the docstring's example gave, where it failed; else empty.
        shown: The code at work, after a pass.
        note: Something to be said besides.
    """

    master: Master
    verdict: Verdict
    example: str = ""
    shown: Shown | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        shown = None if self.shown is None else self.shown.to_dict()
        about = {"exercise": self.master.label, "example": self.example, "note": self.note}
        return about | self.verdict.to_dict() | {"reward": shown}


def check(
    workspace: Workspace,
    master: Master,
    box: Sandbox,
    judged: Callable[[Checked], None] = lambda checked: None,
) -> Checked:
    """Check a learner's file.

    Args:
        workspace: Their folder.
        master: The exercise.
        box: A process that has run nothing of theirs yet. It is closed.
        judged: Called with the verdict, before the code is shown at work: that takes a model.
    """
    source, path = workspace.read(master), str(workspace.file(master))
    before = workspace.progress.done()
    with box:
        verdict = judge(master.exercise, source, path, box)
        example = _example(box) if verdict.kind == "wrong" else ""
        judged(Checked(master, verdict, example))
        shown, note = _at_work(master, box) if verdict.ok else (None, None)
    if workspace.progress.restore(before):
        note = "Your code removed your progress; it has been put back."
    workspace.progress.ran(master.name, verdict.ok)
    return Checked(master, verdict, example, shown, note)


def _at_work(master: Master, box: Sandbox) -> tuple[Shown | None, str | None]:
    from eyeline.learn.rewards import reward
    from eyeline.learn.rewards.learner import Learner, RewardFailed

    try:
        return reward(master.name, Learner(box)), None
    except RewardFailed as error:
        return None, f"It passed, but inside the model it did something else: {error}"


def _example(box: Sandbox) -> str:
    """What the docstring's examples gave, where they failed."""
    reply = box.doctest()
    answer = reply.answer if isinstance(reply.answer, dict) else {}
    if not answer.get("failed") or not isinstance(answer.get("said"), str):
        return ""
    lines = [line for line in answer["said"].splitlines() if not line.startswith("****")]
    return "\n".join(lines[:16])
