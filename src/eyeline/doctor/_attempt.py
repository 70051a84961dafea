"""Calling a candidate: whatever it does, a sentence comes back and its inputs are looked after.

This is the one place where foreign code runs.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eyeline._errors import EyelineError, one_line
from eyeline.doctor._limits import SECONDS, Heard, TimeIsUp, listening, time_limit

__all__ = [
    "ANOTHER_FORM",
    "Answer",
    "NeedsDevice",
    "NeverEnds",
    "Problem",
    "Unusable",
    "attempt",
    "describe",
]

ANOTHER_FORM = "another form"
"""What was returned is to be read in another way: no problem, if in one of them it can be."""

_OURS = str(Path(__file__).parent)


@dataclass(frozen=True)
class Problem:
    """Why a candidate gave no numbers.

    Attributes:
        kind: "raises", "returns nothing", "returns no numbers", "wrong shape", "never ends".
        message: A sentence for a beginner.
    """

    kind: str
    message: str


class Unusable(Exception):
    """What a candidate returned cannot be compared."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(kind, message)


class NeverEnds(Exception):
    """The candidate was stopped: no use in asking it more."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class NeedsDevice(EyelineError):
    """The candidate asks for an accelerator that is not here: it could not be checked."""


@dataclass
class Answer:
    """What a candidate said to one case.

    Attributes:
        value: The numbers in the recipe's own layout.
        problem: Why there are none.
        warned: What Python warned of meanwhile.
        printed: How many characters were printed, and the first of them.
    """

    value: Tensor | None = None
    problem: Problem | None = None
    warned: list[str] = field(default_factory=list)
    printed: tuple[int, str] = (0, "")


def attempt(call: Callable[[], Tensor], *, grad: bool = False) -> Answer:
    """The answer of `call`, or why there is none.

    Args:
        call: Runs the candidate and brings what it gives into the recipe's layout.
        grad: Whether gradients are recorded.

    Raises:
        NeedsDevice: The candidate wants a GPU and there is none.
        NeverEnds: It was stopped after `_limits.SECONDS`.
    """
    with warnings.catch_warnings(record=True) as heard, _surroundings(grad) as said:
        warnings.simplefilter("always")
        try:
            with time_limit():
                answer = Answer(call())
        except TimeIsUp as late:
            raise NeverEnds(_too_long(late)) from None
        except Unusable as unusable:
            answer = Answer(problem=unusable.problem)
        except EyelineError:
            raise
        except Exception as error:
            answer = Answer(problem=_explain(error))
    answer.warned = [one_line(warning.message) for warning in heard]
    answer.printed = (said.count, said.beginning)
    return answer


@contextmanager
def _surroundings(grad: bool) -> Iterator[Heard]:
    """float64 where the candidate makes tensors itself; generator and terminal stay as they are."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(grad), listening() as said:
            yield said
    finally:
        torch.set_default_dtype(before)


def _explain(error: Exception) -> Problem:
    text = one_line(error)
    if len(text) > 300:
        text = text[:300] + " …"
    if "CUDA" in text or "NVIDIA" in text or "MPS" in text or "cuda" in text:
        raise NeedsDevice(
            f"the code asks for a GPU and there is none here ({text}). Make new tensors where the "
            "inputs are, for example torch.zeros(…, device=query.device), and it runs everywhere"
        ) from None
    where = _line(error)
    return Problem("raises", f"your code stopped with {type(error).__name__}: {text}{where}")


def _too_long(late: TimeIsUp) -> Problem:
    return Problem(
        "never ends",
        f"your code had not ended after {SECONDS.get():g} seconds{_line(late)}. Is there a loop "
        "that never ends? If it only is slow, give it more: check(…, seconds=…), or --seconds",
    )


def _line(error: BaseException) -> str:
    """The last line of the candidate's own file on the way to the error."""
    trace, last = error.__traceback__, None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(_OURS) and "site-packages" not in name and name[:1] != "<":
            last = trace
        trace = trace.tb_next
    if last is None:
        return ""
    return f" (line {last.tb_lineno}, in {last.tb_frame.f_code.co_name})"


def describe(thing: Any) -> str:
    """What a candidate returned, in words."""
    if isinstance(thing, Tensor):
        return f"a tensor {list(thing.shape)}"
    if isinstance(thing, tuple | list):
        return f"a {type(thing).__name__} of {len(thing)}"
    return f"{type(thing).__name__} {one_line(repr(thing))[:60]}"
