"""Implementations of attention, one file each; siblings never import each other.

To add one (C++, Triton, …): a module with the functions of `reference` (`unsupported`, `attend`,
`rows`, `measure`, `stream`, `pixels`) and a line in `IMPLEMENTATIONS`. `choose` is the only place
that decides.
"""

import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType

from torch import Tensor

from eyeline.impl import _native_quick, native, reference, tiled
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Wants

__all__ = ["IMPLEMENTATIONS", "choose", "quick"]

IMPLEMENTATIONS: dict[str, ModuleType] = {
    "reference": reference,
    "tiled": tiled,
    "native": native,
}

_AUTO = ("native", "tiled")
"""What `auto` tries, best first. Never `reference`: that one holds the n×n weights."""


def choose(name: str, problem: Problem, wants: Wants | None = None) -> ModuleType:
    """The implementation of that name, or the best one for `auto`.

    Args:
        name: "auto", or one of `IMPLEMENTATIONS`.
        problem: The attention call.
        wants: The statistics that are asked for, if any are.

    Raises:
        ValueError: The name is unknown, or none that it stands for can do the problem.
    """
    if name == "auto" and (reason := native.missing()) is not None:
        _say_once(reason)
    if name != "auto" and name not in IMPLEMENTATIONS:
        known = ", ".join(["auto", *IMPLEMENTATIONS])
        raise ValueError(f"impl={name!r} is unknown; choose one of {known}")
    reasons = []
    for candidate in _AUTO if name == "auto" else (name,):
        reason = IMPLEMENTATIONS[candidate].unsupported(problem, wants)
        if reason is None:
            return IMPLEMENTATIONS[candidate]
        reasons.append(reason)
    advice = "impl='reference' may, and holds all n x n weights"
    if any(IMPLEMENTATIONS[other].unsupported(problem, wants) is None for other in _AUTO):
        advice = "use impl='auto'"
    raise ValueError(f"impl={name!r} cannot do this: {', and '.join(reasons)}; {advice}")


def quick(name: str) -> Callable[..., Tensor | None]:
    """How the named implementation computes a plain call without describing it first.

    Nothing is checked there: whatever is not plain, or wrong, gives None and takes the long way.
    """
    return _native_quick.attend if name in ("auto", "native") else _no_quick_way


def _no_quick_way(*_: object) -> None:
    return None


@cache
def _say_once(reason: str) -> None:
    warnings.warn(f"{reason}. The portable implementation is used.", RuntimeWarning, stacklevel=4)
