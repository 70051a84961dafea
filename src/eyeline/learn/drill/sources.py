"""The source of a demonstration, with the helpers that it calls."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

__all__ = ["source_of"]


def source_of(demo: Callable[[], Any]) -> str:
    """What computes an answer: the helpers of its module that it uses, then itself."""
    found = [one for one in _used(demo, set()) if one is not demo]
    parts = [textwrap.dedent(inspect.getsource(one)).rstrip() for one in [*found, demo]]
    return "\n\n\n".join(parts) + "\n"


def _used(function: Any, seen: set[Any]) -> Iterator[FunctionType]:
    """Functions of the same module that are called, those that are called first come first."""
    seen.add(function)
    for name in _names(function.__code__):
        other = function.__globals__.get(name)
        own = isinstance(other, FunctionType) and other.__module__ == function.__module__
        if own and other not in seen:
            yield from _used(other, seen)
            yield other


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
