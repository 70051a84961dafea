"""The short way for plain calls: no mask but a band along the diagonal, no bias, no gradient.

A head of 16 tokens is computed in a microsecond; checking a call, making it canonical and
describing it to the kernels takes fifty. All of that depends on shapes, strides and dtype alone and
is done once for each of them: what is left are four addresses.
"""

import ctypes
import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from eyeline.impl._native_library import DTYPES, WIDEST, Call, Library, library

__all__ = ["attend"]

Sides = tuple[int | None, int | None]
FARTHEST = 1 << 62  # beyond which places do not fit into 64 bits


class _Plan(NamedTuple):
    template: ctypes.Array  # the bytes of a Call without addresses
    shape: tuple[int, ...]  # of the output
    as_query: bool  # the output lies in memory as the query does: that is quicker to make


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    band: Sides,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor | None:
    """The output of a plain 4-D call, or None where the long way must be taken.

    Query i sees the keys from i + band[0] to i + band[1]; None is no limit.
    """
    if not (type(query) is type(key) is type(value) is Tensor) or _watched():
        return None
    if not (query.dtype is key.dtype is value.dtype):
        return None
    if scale is not None and type(scale) is not float:
        return None
    if not (query.is_cpu and key.is_cpu and value.is_cpu):
        return None
    if torch.is_grad_enabled() and (
        query.requires_grad or key.requires_grad or value.requires_grad
    ):
        return None
    plan = _plan(
        *(query.shape, key.shape, value.shape, query.stride(), key.stride(), value.stride()),
        *(query.dtype, band, scale, enable_gqa),
    )
    if plan is None:
        return None
    call = Call.from_buffer_copy(plan.template)
    output = torch.empty_like(query) if plan.as_query else query.new_empty(plan.shape)
    call.threads = torch.get_num_threads()
    try:
        call.query, call.key = query.data_ptr(), key.data_ptr()
        call.value, call.output = value.data_ptr(), output.data_ptr()
    except RuntimeError:  # a tensor without memory, such as those of torch.func.vmap
        return None
    kernels = library()
    assert isinstance(kernels, Library), "a plan is only made where there are kernels"
    return output if kernels.attend(call) else None


def _watched() -> bool:
    """Whether somebody follows what torch is asked to do: addresses would escape them."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )


@lru_cache(maxsize=1024)
def _plan(
    q_shape: torch.Size,
    k_shape: torch.Size,
    v_shape: torch.Size,
    q_stride: tuple[int, ...],
    k_stride: tuple[int, ...],
    v_stride: tuple[int, ...],
    dtype: torch.dtype,
    band: Sides,
    scale: float | None,
    enable_gqa: bool,
) -> _Plan | None:
    """What is the same in every call like this one; None if it is not plain, or not right."""
    shapes, strides = (q_shape, k_shape, v_shape), (q_stride, k_stride, v_stride)
    if dtype not in DTYPES or any(
        len(s) != 4 or 0 in s or t[3] != 1 for s, t in zip(shapes, strides, strict=True)
    ):
        return None
    (batch, heads, q_len, head_dim), (_, kv_heads, kv_len, _) = q_shape, k_shape
    fits = k_shape == (batch, kv_heads, kv_len, head_dim) and k_shape[:3] == v_shape[:3]
    if not fits or max(head_dim, v_shape[3]) > WIDEST or isinstance(library(), str):
        return None
    if heads != kv_heads and (not enable_gqa or heads % kv_heads):
        return None
    if any(abs(side or 0) >= FARTHEST for side in band):
        return None
    call = Call(size=ctypes.sizeof(Call), dtype=DTYPES[dtype])
    call.batch, call.heads, call.q_len, call.kv_len = batch, heads, q_len, kv_len
    call.kv_heads, call.head_dim, call.value_dim = kv_heads, head_dim, v_shape[3]
    call.query_stride, call.key_stride, call.value_stride = (s[:3] for s in strides)
    call.scale = 1 / math.sqrt(head_dim) if scale is None else scale
    first, last = band
    if first is not None:
        call.has_first, call.first_offset = 1, first
    if last is not None:
        call.has_last, call.last_offset = 1, last
    shape = (batch, heads, q_len, v_shape[3])
    width = shape[3]
    call.output_stride = (heads * q_len * width, q_len * width, width)
    template = (ctypes.c_char * ctypes.sizeof(Call)).from_buffer_copy(call)
    dense = q_stride == (*call.output_stride, 1) and tuple(q_shape) == shape
    return _Plan(template, shape, dense)
