"""Checks of `query, key, value` that every entry point shares (contract N6)."""

import math

from torch import Tensor
from torch.compiler import is_compiling


def check_inputs(query: Tensor, key: Tensor, value: Tensor, *, enable_gqa: bool) -> None:
    """Raise an error that names the argument, what was expected and what was found."""
    named = {"query": query, "key": key, "value": value}
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
        if tensor.dim() < 2:
            raise ValueError(
                f"{name} must be [..., length, head_dim], got {tensor.dim()}-D {_shape(tensor)}"
            )
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}")
        for aspect in ("dtype", "device"):
            expected, found = getattr(query, aspect), getattr(tensor, aspect)
            if expected != found:
                raise ValueError(
                    f"{name} has {aspect} {found}, query has {expected}: convert one of them"
                )
    if key.shape[-1] != query.shape[-1]:
        raise ValueError(
            f"query and key must have the same head_dim, got {query.shape[-1]} and {key.shape[-1]}"
        )
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"key and value must have the same kv_len, got {key.shape[-2]} and {value.shape[-2]}"
        )
    if enable_gqa:
        check_groups(query, key, value)


def check_groups(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Grouped-query attention: the query heads must divide evenly among the key/value heads."""
    if min(query.dim(), key.dim(), value.dim()) < 3:
        raise ValueError("enable_gqa needs a head dimension: [..., num_heads, length, head_dim]")
    heads, kv_heads = query.shape[-3], key.shape[-3]
    for name, found in (("key", kv_heads), ("value", value.shape[-3])):
        if found == 0 or heads % found:
            raise ValueError(
                f"enable_gqa: {name} has {found} heads, which does not divide query's {heads}"
            )


def check_sink_values(sinks: Tensor) -> None:
    """Raise `ValueError` for a sink of NaN or +inf; in a compiled call the operator does."""
    if not is_compiling() and bool((sinks.isnan() | (sinks == math.inf)).any()):
        raise ValueError("sinks hold NaN or +inf: a sink is a finite logit, or -inf for none")


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))
