"""Networks without numbers, to be filled from a checkpoint."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["unfilled"]


@contextmanager
def unfilled() -> Iterator[None]:
    """While it lasts, modules are made on torch's "meta" device and draw nothing.

    A draw has no effect there, and the first `normal_` of a process takes a second: it imports
    torch's compiler.
    """
    with torch.device("meta"), _NoDraws():
        yield


class _NoDraws(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func is Tensor.normal_ or func is Tensor.uniform_:
            return args[0]
        if (
            getattr(func, "__module__", "") == "torch.nn.init"
        ):  # it calls the above where no mode sees it
            return given["tensor"]
        return func(*args, **given)
