"""What torch's transforms ask of a call: `torch.func`, and derivatives in forward mode."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_batchedtensor, is_functorch_wrapped_tensor
from torch.autograd import forward_ad

__all__ = ["FORWARD_MODE", "forward_mode", "transformed", "unwrapped", "wrapped"]

FORWARD_MODE = "derivatives in forward mode (jvp, jacfwd, hessian)"


def forward_mode(tensors: Iterable[Tensor]) -> bool:
    """Whether one of them carries a tangent."""
    if forward_ad._current_level < 0:  # as `torch.func.jvp` has it too
        return False
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def wrapped(tensors: Iterable[Tensor]) -> bool:
    """Whether `torch.func` (grad, jacrev, vmap, …) hides the memory of one of them."""
    return torch._C._are_functorch_transforms_active() and any(
        is_functorch_wrapped_tensor(t) for t in tensors
    )


def transformed(tensors: Iterable[Tensor]) -> bool:
    """Whether `torch.func` differentiates one of them, or maps over it."""
    return torch._C._are_functorch_transforms_active() and any(
        is_batchedtensor(t) or (is_functorch_wrapped_tensor(t) and t.requires_grad) for t in tensors
    )


def unwrapped(tensor: Tensor) -> Tensor:
    """All the numbers that `torch.func` sees as one tensor: of `vmap` those of every item."""
    while is_functorch_wrapped_tensor(tensor):
        tensor = get_unwrapped(tensor)
    return tensor
