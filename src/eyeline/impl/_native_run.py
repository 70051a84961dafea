"""One run of the kernels: operands in, statistics out.

Ordinary numbers are all that the kernels are made for. When they meet NaN, an infinity or an
overflow they say so, and the careful panels that `tiled` is made of compute the call again.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from eyeline._checks import check_sink_values
from eyeline.impl._dropout import kept_scale, threshold
from eyeline.impl._hazards import find_hazards
from eyeline.impl._native_library import DTYPES, Call, Library, library
from eyeline.impl._native_operands import Operands
from eyeline.impl._statistics import Normalizer, Statistics, TopK, Wants, divide_by_area
from eyeline.impl._tiled_measure import measure as careful_measure
from eyeline.impl._transforms import wrapped


def run(operands: Operands, wants: Wants) -> Statistics:
    """The kernels' answer, or the careful one where the operands are not ordinary numbers."""
    if min(operands.shape) == 0:
        return careful_measure(operands.problem(), wants)  # nothing to compute: only shapes
    found = _kernels(operands, wants)
    if found is not None:
        return found
    problem = operands.problem()
    for bias in problem.biases:  # their NaN and +inf are errors; a compiled call was not checked
        bias.check(*problem.shape)
    if problem.sinks is not None:
        check_sink_values(problem.sinks)
    careful = careful_measure(problem, wants)
    clean, hazards = find_hazards(problem, use_value=wants.output)
    if hazards is None:
        return careful
    # with zeros in the place of what is not finite, rows that do not see it keep their bits (N2)
    found = _kernels(operands.with_tensors(clean.differentiable), wants)
    return careful if found is None else _nan_from(careful, found)


def _nan_from(careful: Statistics, found: Statistics) -> Statistics:
    """The kernels' numbers, NaN where the careful ones are."""
    for name in ("output", "entropy", "received", "pooled"):
        if (tensor := getattr(found, name)) is not None:
            tensor.masked_fill_(getattr(careful, name).isnan(), torch.nan)
    if found.unrounded is not None and found.output is not None:
        found.unrounded.masked_fill_(found.output.isnan(), torch.nan)
    bad = careful.normalizer.total.isnan()
    for tensor in found.normalizer:
        tensor.masked_fill_(bad, torch.nan)
    if found.top_k is not None and careful.top_k is not None:
        for tensor, other in zip(found.top_k, careful.top_k, strict=True):
            tensor[bad] = other[bad]
    return found


def _kernels(operands: Operands, wants: Wants) -> Statistics | None:
    """One call of the kernels; None if they met special values."""
    kernels = library()
    assert isinstance(kernels, Library), "unsupported() was not asked"
    result = _room(operands, wants)
    call = Call()
    alive = [*describe(call, operands), result]  # the call holds addresses only
    _point(call, result, wants)
    if not kernels.attend(call):
        return None
    del alive
    if wants.pooled is not None and wants.pooled.reduce == "mean":
        divide_by_area(operands.shape, result.pooled)
    return result


def _room(operands: Operands, wants: Wants) -> Statistics:
    """Uninitialised tensors for everything that is wanted."""
    batch, heads, q_len, kv_len = operands.shape
    rows = (batch, heads, q_len)

    def new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    result = Statistics(
        Normalizer(new(*rows), new(*rows)),
        entropy=new(*rows) if wants.entropy else None,
        received=new(batch, heads, kv_len) if wants.received else None,
    )
    if wants.output:
        result.output = new(*rows, operands.value.shape[-1], dtype=operands.dtype)
        if wants.unrounded and operands.dtype != torch.float32:
            result.unrounded = torch.empty_like(result.output, dtype=torch.float32)
    if k := min(wants.top_k, kv_len):
        result.top_k = TopK(new(*rows, k), new(*rows, k, dtype=torch.int64))
    if wants.pooled is not None:
        result.pooled = new(batch, heads, *wants.pooled.shape(operands.shape))
    return result


def describe(call: Call, operands: Operands) -> list[Any]:
    """Write the operands into the call; returns what must stay alive."""
    if wrapped(operands.differentiable):
        raise ValueError(
            "the kernels look at tensors that have memory, torch.func's (grad, vmap, …) have none: "
            "look outside of what it transforms, or use impl='reference'"
        )
    call.size, call.dtype = ctypes.sizeof(Call), DTYPES[operands.dtype]
    call.threads = torch.get_num_threads()
    call.batch, call.heads, call.q_len, call.kv_len = operands.shape
    call.kv_heads = operands.key.shape[1]
    call.head_dim, call.value_dim = operands.query.shape[-1], operands.value.shape[-1]
    call.scale, call.softcap = operands.scale, operands.softcap
    call.dropout_threshold = threshold(operands.dropout_p)
    call.dropout_scale = kept_scale(operands.dropout_p)
    call.dropout_seed = operands.dropout_seed & 0xFFFFFFFF
    alive: list[Any] = []

    def keep(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        return tensor

    for name in ("query", "key", "value"):
        tensor = getattr(operands, name)
        if tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        setattr(call, name, keep(tensor).data_ptr())
        setattr(call, f"{name}_stride", tensor.stride()[:3])
    if operands.sinks is not None:
        call.sinks = keep(operands.sinks.contiguous()).data_ptr()
    if operands.first_offset is not None:
        call.has_first, call.first_offset = 1, operands.first_offset
    if operands.last_offset is not None:
        call.has_last, call.last_offset = 1, operands.last_offset
    if operands.row_first is not None and operands.row_last is not None:
        call.row_first, call.row_last = operands.row_first.data_ptr(), operands.row_last.data_ptr()
        call.row_stride = strides(operands.row_first)
    for name, tensor in (("dense_mask", operands.written), ("bias", operands.bias)):
        if tensor is not None:
            setattr(call, name, tensor.data_ptr())
            setattr(call, f"{name}_stride", strides(tensor))
    if operands.diagonals is not None:
        diagonals = keep(operands.diagonals.contiguous())
        call.diagonal, call.diagonal_stride = diagonals.data_ptr(), (0, diagonals.stride(0))
    return alive


def _point(call: Call, result: Statistics, wants: Wants) -> None:
    """Tell the call where its results go."""
    call.row_max, call.row_sum = (t.data_ptr() for t in result.normalizer)
    if result.output is not None:
        call.output, call.output_stride = result.output.data_ptr(), result.output.stride()[:3]
    if result.unrounded is not None:
        call.unrounded_output = result.unrounded.data_ptr()
    if result.entropy is not None:
        call.entropy = result.entropy.data_ptr()
    if result.top_k is not None:
        call.top_k = result.top_k.values.shape[-1]
        call.top_values, call.top_indices = (t.data_ptr() for t in result.top_k)
    if result.received is not None:
        call.received = result.received.data_ptr()
    if result.pooled is not None:
        assert wants.pooled is not None
        call.pooled = result.pooled.data_ptr()
        call.pool_rows, call.pool_cols = result.pooled.shape[2:]
        call.pool_reduce = int(wants.pooled.reduce == "max")


def strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides in elements, 0 where the tensor broadcasts."""
    return tuple(
        0 if n == 1 else stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
