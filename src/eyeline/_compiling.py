"""What `torch.compile` is told of a function, without importing the compiler.

`torch._dynamo` takes as long to import as torch itself, and most who look never compile.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

__all__ = ["constant_in_graphs", "outside_graphs"]

P = ParamSpec("P")
R = TypeVar("R")


def constant_in_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """A function that is run once per graph: `torch.compiler.assume_constant_result`."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """A function that graphs leave out: `torch.compiler.disable`, once somebody compiles."""
    disabled: Any = None

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal disabled
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if disabled is None:
            disabled = torch.compiler.disable(function)
        return disabled(*args, **kwargs)

    return call
