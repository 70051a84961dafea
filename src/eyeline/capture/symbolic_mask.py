"""`SymbolicMask`: stands where a Hugging Face model expects its 4-D mask tensor."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from eyeline._compiling import outside_graphs
from eyeline._types import Tile
from eyeline.capture.hf_masks import Frame, MaskFunction, translate
from eyeline.masks import Mask

__all__ = ["SymbolicMask", "make_mask"]


class SymbolicMask:
    """A rule with the shape of a mask tensor, handed from the model to its attention layers.

    Most models only pass it on. One that computes with it (slices it, adds to it) gets the bool
    tensor that transformers' `sdpa_mask` would have made: right, and as large as it always was.

    Args:
        rule: Who may attend to whom; None = everybody to everybody.
        shape: `(batch, 1, q_len, kv_len)`.
        device: Where a tensor made of it shall be.
    """

    dtype = torch.bool
    ndim = 4
    is_nested = False
    requires_grad = False

    def __init__(
        self, rule: Mask | None, shape: tuple[int, int, int, int], device: torch.device | str
    ) -> None:
        self.rule = rule
        self.shape = torch.Size(shape)
        self.device = torch.device(device)

    def dim(self) -> int:
        """4, as of a tensor."""
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        """The shape or one number of it."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """How many entries a tensor of this shape would have."""
        return math.prod(self.shape)

    def contiguous(self, **_unused: object) -> "SymbolicMask":
        """Itself."""
        return self

    def detach(self) -> "SymbolicMask":
        """Itself."""
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Itself on any device; a tensor when another dtype is asked for."""
        asked = (*args, *kwargs.values())
        dtypes = [a if isinstance(a, torch.dtype) else getattr(a, "dtype", None) for a in asked]
        if all(d in (None, torch.bool) for d in dtypes):
            return self
        return self.dense().to(*args, **kwargs)

    def dense(self) -> Bool[Tensor, "batch 1 q_len kv_len"]:
        """The tensor, True = may attend."""
        if self.rule is None:
            return torch.ones(self.shape, dtype=torch.bool, device=self.device)
        rule = self.rule.to(self.device)
        return rule.tile(Tile.whole(*self.shape), self.device).expand(self.shape).contiguous()

    def __getitem__(self, index: Any) -> Tensor:
        return self.dense()[index]

    def __invert__(self) -> Tensor:
        return ~self.dense()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Tensor, name):
            raise AttributeError(f"SymbolicMask has no attribute {name!r}")
        return getattr(self.dense(), name)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        def written(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(written(v) for v in value)
            return value.dense() if isinstance(value, cls) else value

        named = {name: written(value) for name, value in (kwargs or {}).items()}
        return func(*(written(a) for a in args), **named)

    def __repr__(self) -> str:
        return f"SymbolicMask({self.rule or 'everybody'}, shape={list(self.shape)})"


@outside_graphs  # reads closures and the padding's content; a graph break is the price
def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    mask_function: MaskFunction,
    q_offset: int | Tensor = 0,
    kv_offset: int | Tensor = 0,
    attention_mask: Bool[Tensor, "batch kv"] | SymbolicMask | None = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **_unused: object,
) -> SymbolicMask:
    """The mask interface of the implementation "eyeline"; arguments as in `sdpa_mask`.

    A mask is returned even where sdpa would return None and rely on `module.is_causal`: the map
    shall say who may look at whom, and a symbol costs nothing.
    """
    if isinstance(attention_mask, SymbolicMask):  # made earlier, by `generate`
        return attention_mask
    frame = Frame(q_length, kv_length, int(q_offset), int(kv_offset), device, use_vmap)
    rule = translate(mask_function, frame, attention_mask)
    return SymbolicMask(rule, (batch_size, 1, q_length, kv_length), device)
