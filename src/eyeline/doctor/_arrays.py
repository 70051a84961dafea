"""Torch, NumPy and JAX: numbers to a candidate and back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["LIBRARIES", "from_library", "library_of", "to_library", "watched"]

LIBRARIES = ("torch", "numpy", "jax")


_given: list[tuple[Any, Tensor]] | None = None


@contextmanager
def watched() -> Iterator[list[tuple[Any, Tensor]]]:
    """Remembers every array that is handed out meanwhile, with its numbers as they were."""
    global _given
    _given = remembered = []
    try:
        yield remembered
    finally:
        _given = None


def library_of(candidate: Callable[..., Any]) -> str:
    """The library that a function's own source calls; torch if it calls none of them."""
    function: Any = candidate
    while hasattr(function, "__wrapped__"):  # jitted or decorated
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None:
        return "torch"
    globals_ = getattr(function, "__globals__", {})
    named = [globals_.get(name) for name in _names(code)]
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # a name that is not bound yet
            named.append(cell.cell_contents)
    used = {m.__name__.partition(".")[0] for m in named if isinstance(m, ModuleType)}
    used |= {
        (getattr(thing, "__module__", None) or "").partition(".")[0]
        for thing in named
        if callable(thing)
    }
    for library in ("jax", "torch", "numpy"):
        if library in used:
            return library
    notes = " ".join(map(str, getattr(function, "__annotations__", {}).values()))
    return "numpy" if "ndarray" in notes else "torch"


def _names(code: Any) -> set[str]:
    """Every global name that a function, or one inside it, mentions."""
    inner = [c for c in code.co_consts if hasattr(c, "co_names")]
    return set(code.co_names).union(*map(_names, inner))


def to_library(tensor: Tensor, library: str) -> Any:
    """A copy of the tensor as the library's array."""
    if library == "torch":
        array = tensor.clone()
    elif library == "numpy":
        array = tensor.detach().numpy().copy()
    else:
        import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

        array = jnp.asarray(tensor.detach().numpy())
    if _given is not None:  # as the library holds it: JAX makes float32 of everything
        held = from_library(array)
        _given.append((array, tensor.detach() if held is None else held.detach().clone()))
    return array


def from_library(array: Any) -> Tensor | None:
    """The array as a tensor; None if it is no array of numbers."""
    if isinstance(array, Tensor):
        return array if torch.is_grad_enabled() else array.detach()
    jax = sys.modules.get("jax")
    if isinstance(array, np.ndarray | np.generic) or (
        jax is not None and isinstance(array, jax.Array)
    ):
        numbers = np.asarray(array)
        return torch.from_numpy(numbers.copy()) if numbers.dtype.kind in "fiub" else None
    if hasattr(array, "__dlpack__"):
        return torch.from_dlpack(array).clone()
    return None
