"""Implementations of attention, one file each; siblings never import each other.

To add one (C++, Triton, …): a module with `unsupported`, `attend` and `measure` as in `reference`,
and a line in `IMPLEMENTATIONS`. `choose` is the only place that decides.
"""

from types import ModuleType

from eyeline.impl import reference, tiled
from eyeline.impl._problem import Problem

__all__ = ["IMPLEMENTATIONS", "choose"]

IMPLEMENTATIONS: dict[str, ModuleType] = {"reference": reference, "tiled": tiled}

_AUTO = ("tiled",)
"""What `auto` tries, best first. Never `reference`: that one holds the n×n weights."""


def choose(name: str, problem: Problem) -> ModuleType:
    """The implementation of that name, or the best one for `auto`.

    Raises:
        ValueError: The name is unknown, or the named implementation cannot do the problem.
    """
    if name == "auto":
        for candidate in _AUTO:
            if IMPLEMENTATIONS[candidate].unsupported(problem) is None:
                return IMPLEMENTATIONS[candidate]
        raise ValueError("no implementation can do this attention call")
    if name not in IMPLEMENTATIONS:
        known = ", ".join(["auto", *IMPLEMENTATIONS])
        raise ValueError(f"impl={name!r} is unknown; choose one of {known}")
    reason = IMPLEMENTATIONS[name].unsupported(problem)
    if reason is not None:
        raise ValueError(f"impl={name!r} cannot do this: {reason}; use impl='auto'")
    return IMPLEMENTATIONS[name]
