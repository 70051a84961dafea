"""What is asked of a learner's file, and what stands for an answer that cannot cross over."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Call", "Opaque"]


@dataclass(frozen=True)
class Opaque:
    """Something that is neither a tensor nor plain data: only the name of its type crosses over."""

    type_name: str


@dataclass(frozen=True)
class Call:
    """One call of a function in the learner's file.

    Attributes:
        function: Its name.
        args: Positional arguments: tensors, numbers, text, None, lists, tuples, dicts of those.
        kwargs: Keyword arguments.
        grad: Whether to run backward from the sum of the output and send the gradients of the
            floating-point tensors among `args`.
    """

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] | None = None
    grad: bool = False
