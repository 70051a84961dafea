"""Attention that can be watched: who listens gets the call instead of `attention`."""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from eyeline.functional import attention

__all__ = ["Kind", "Observer", "Vectors", "Watched"]

Kind: TypeAlias = Literal["encoder", "decoder", "cross"]
"""Sees both sides; sees the past; looks at another sequence."""

Vectors: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Query, key and value, `[batch, heads, length, width]` each."""


class Observer(Protocol):
    """Computes one attention call and may remember it."""

    def __call__(
        self,
        module: nn.Module,
        vectors: Vectors,
        again: Callable[[], Vectors] | str,
        kind: Kind,
        call: dict[str, Any],
    ) -> Tensor:
        """Attend.

        Args:
            module: The module that attends.
            vectors: Query, key and value.
            again: Makes the three again from the module's inputs; or why that is not possible.
            kind: What kind of attention it is.
            call: The other arguments of `eyeline.attention`.

        Returns:
            What `attention(*vectors, **call)` gives.
        """
        ...


class Watched(nn.Module):
    """A module that attends through `attend`.

    Attributes:
        observers: Who watches; the last one is given the calls.
    """

    observers: tuple[Observer, ...] = ()

    def attend(
        self,
        vectors: Vectors,
        again: Callable[[], Vectors] | str,
        kind: Kind,
        **call: Any,
    ) -> Float[Tensor, "batch num_heads q_len value_dim"]:
        """`attention(*vectors, **call)`, by way of the observer if there is one."""
        if not self.observers:
            return attention(*vectors, **call)
        return self.observers[-1](self, vectors, again, kind, call)
