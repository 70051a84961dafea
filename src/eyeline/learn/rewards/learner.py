"""The learner's functions, called as if they were ours, and believed nothing."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from eyeline.learn.sandbox import Call, Sandbox

__all__ = ["Learner", "RewardFailed"]


class RewardFailed(Exception):
    """The learner's code did something else in the model than on the probes."""


class Learner:
    """Functions in the learner's process.

    Args:
        box: The process; the file is loaded.
    """

    def __init__(self, box: Sandbox) -> None:
        self._box = box

    def __call__(self, function: str, *args: Any) -> Any:
        """Call one of their functions."""
        return self.many(function, [args])[0]

    def tensor(self, function: str, *args: Any, shape: Sequence[int]) -> Tensor:
        """Call a function that gives a tensor of a known shape."""
        return self.tensors(function, [args], shape)[0]

    def tensors(
        self, function: str, calls: Sequence[tuple[Any, ...]], shape: Sequence[int]
    ) -> list[Tensor]:
        """Several calls in one go, each giving a tensor of a known shape."""
        values = self.many(function, calls)
        for value in values:
            if not isinstance(value, Tensor) or tuple(value.shape) != tuple(shape):
                found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise RewardFailed(f"{function} gave {found} where {list(shape)} was expected")
        like = next((one for one in calls[0] if isinstance(one, Tensor)), None)
        if like is None or not like.is_floating_point():
            return values
        return [value.to(like.dtype) if value.is_floating_point() else value for value in values]

    def many(self, function: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Several calls in one go."""
        reply = self._box.call([Call(function, args) for args in calls])
        answers = reply.answer
        if reply.stopped is not None or not isinstance(answers, list) or len(answers) != len(calls):
            raise RewardFailed(f"{function} was stopped ({reply.stopped})")
        for answer in answers:
            if not isinstance(answer, dict) or "value" not in answer:
                error = answer.get("error") if isinstance(answer, dict) else None
                told = error if isinstance(error, dict) else {}
                raise RewardFailed(f"{function} raised {told.get('type')}: {told.get('message')}")
        return [answer["value"] for answer in answers]
