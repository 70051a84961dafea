"""The kinds of thing that can be checked, and which one a candidate is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from eyeline._errors import EyelineError
from eyeline.doctor._convention import Convention
from eyeline.doctor.catalogue import ATTENTION, MULTI_HEAD
from eyeline.doctor.recipe import Recipe
from eyeline.doctor.topics import attention, multi_head

__all__ = ["KINDS", "Kind", "kind_of"]


@dataclass(frozen=True)
class Kind:
    """Something that can be checked.

    Attributes:
        name: As `check(what=…)` calls it.
        recipe: What is right, and the known mistakes.
        conventions: Every way to call a candidate.
        states: What a caller may state about it.
    """

    name: str
    recipe: Recipe
    conventions: Callable[..., Iterator[Convention]]
    states: set[str]

    @property
    def signature(self) -> str:
        """How a candidate (or its adapter, after the candidate) is called."""
        return self.recipe.signature


_ALL = (
    Kind("attention", ATTENTION, attention.conventions, attention.STATES),
    Kind("grouped attention", ATTENTION, attention.grouped, attention.STATES),
    Kind("multi-head attention", MULTI_HEAD, multi_head.conventions, multi_head.STATES),
)
KINDS = {kind.name: kind for kind in _ALL}


def kind_of(candidate: Callable[..., Any], name: str, what: str | None) -> Kind:
    """The kind that is meant.

    Raises:
        EyelineError: It is not one of `KINDS`, or cannot be known.
    """
    if what is None:
        return KINDS["multi-head attention" if isinstance(candidate, nn.Module) else "attention"]
    if what not in KINDS:
        raise EyelineError(f"what={what!r} is not known; choose one of {', '.join(KINDS)}")
    return KINDS[what]
