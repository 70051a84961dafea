"""The C++ kernels of `kernels/`, bound: the same attention at the speed of the machine.

Masks and biases go to the kernels as rules (`_native_rules`). Ordinary numbers are all that the
kernels are made for: when they meet NaN, an infinity or an overflow they say so, and the call is
made again by the careful panels that `tiled` is made of too. Gradients are computed there as well.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from eyeline.impl import _native_rules
from eyeline.impl._hazards import find_hazards
from eyeline.impl._native_library import DTYPES, WIDEST, Call, Library, library
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Normalizer, Statistics, TopK, Wants, divide_by_area
from eyeline.impl._tiled_backward import Backward
from eyeline.impl._tiled_measure import measure as careful_measure

MOST_TOP_K = 64


def missing() -> str | None:
    """Why there are no kernels on this computer, if there are none."""
    loaded = library()
    return loaded if isinstance(loaded, str) else None


def unsupported(problem: Problem, wants: Wants | None = None) -> str | None:
    """Why the kernels cannot do this problem, or None."""
    query = problem.query
    if query.device.type != "cpu":
        return f"the kernels run on the CPU, the tensors are on {query.device}"
    if query.dtype not in DTYPES:
        return f"the kernels compute float32, bfloat16 and float16, not {query.dtype}"
    if max(query.shape[-1], problem.value.shape[-1]) > WIDEST:
        return f"heads are {query.shape[-1]} wide, the kernels go up to {WIDEST}"
    if problem.dropout_p > 0:
        return "the kernels do not drop weights yet"
    if wants is not None and wants.top_k > MOST_TOP_K:
        return f"the kernels find up to {MOST_TOP_K} largest weights, not {wants.top_k}"
    return missing() or _native_rules.too_large(problem)


def attend(problem: Problem) -> tuple[Tensor, Normalizer]:
    """Output `[B, H, L, D_v]`, and each row's maximum and sum; gradients to every input."""
    tensors = problem.differentiable
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        output, maximum, total = _Attend.apply(problem, *tensors)
        return output, Normalizer(maximum, total)
    return _forward(problem)


def measure(problem: Problem, wants: Wants) -> Statistics:
    """Statistics of the weights, and the output if wanted, in one pass."""
    return _run(problem, wants)


class _Attend(torch.autograd.Function):
    """Forward keeps nothing but its inputs."""

    @staticmethod
    def forward(ctx, problem: Problem, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, normalizer = _forward(problem)
        ctx.problem = problem
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(*normalizer)
        return output, normalizer.maximum, normalizer.total

    @staticmethod
    def backward(ctx, output_gradient: Tensor, *_unused: Tensor):
        gradients = Backward.apply(ctx.problem, output_gradient, *ctx.saved_tensors)
        return None, *gradients


def _forward(problem: Problem) -> tuple[Tensor, Normalizer]:
    found = _run(problem, Wants(output=True))
    assert found.output is not None
    return found.output, found.normalizer


def _run(problem: Problem, wants: Wants) -> Statistics:
    """The kernels' answer, or the careful one where the problem is not of ordinary numbers."""
    if min(problem.shape) == 0:
        return careful_measure(problem, wants)  # nothing to compute: only shapes
    found = _kernels(problem, wants)
    if found is not None:
        return found
    careful = careful_measure(problem, wants)
    clean, hazards = find_hazards(problem, use_value=wants.output)
    # with zeros in the place of what is not finite, rows that do not see it keep their bits (N2)
    found = None if hazards is None else _kernels(clean, wants)
    return careful if found is None else _nan_from(careful, found)


def _nan_from(careful: Statistics, found: Statistics) -> Statistics:
    """The kernels' numbers, NaN where the careful ones are."""
    for name in ("output", "entropy", "received", "pooled"):
        if (tensor := getattr(found, name)) is not None:
            tensor.masked_fill_(getattr(careful, name).isnan(), torch.nan)
    bad = careful.normalizer.total.isnan()
    for tensor in found.normalizer:
        tensor.masked_fill_(bad, torch.nan)
    if found.top_k is not None and careful.top_k is not None:
        for tensor, other in zip(found.top_k, careful.top_k, strict=True):
            tensor[bad] = other[bad]
    return found


def _kernels(problem: Problem, wants: Wants) -> Statistics | None:
    """One call of the kernels; None if they met special values."""
    kernels = library()
    assert isinstance(kernels, Library), "unsupported() was not asked"
    batch, heads, q_len, kv_len = problem.shape
    rows = (batch, heads, q_len)
    query = problem.query.detach()
    new = query.new_empty
    result = Statistics(
        Normalizer(new(rows, dtype=torch.float32), new(rows, dtype=torch.float32)),
        entropy=new(rows, dtype=torch.float32) if wants.entropy else None,
        received=new((batch, heads, kv_len), dtype=torch.float32) if wants.received else None,
        output=new((*rows, problem.value.shape[-1])) if wants.output else None,
    )
    if k := min(wants.top_k, kv_len):
        result.top_k = TopK(
            new((*rows, k), dtype=torch.float32), new((*rows, k), dtype=torch.int64)
        )
    if wants.pooled is not None:
        size = wants.pooled.shape(problem.shape)
        result.pooled = new((batch, heads, *size), dtype=torch.float32)
    call = Call(size=ctypes.sizeof(Call), dtype=DTYPES[query.dtype])
    call.threads = torch.get_num_threads()
    alive = [*_describe(call, problem), result]  # the call holds addresses only
    _point(call, result, wants)
    if not kernels.attend(call):
        return None
    del alive
    if wants.pooled is not None and wants.pooled.reduce == "mean":
        divide_by_area(problem.shape, result.pooled)
    return result


def _describe(call: Call, problem: Problem) -> list[Any]:
    """Write the problem into the call; returns what must stay alive."""
    call.batch, call.heads, call.q_len, call.kv_len = problem.shape
    call.kv_heads = problem.key.shape[1]
    call.head_dim, call.value_dim = problem.query.shape[-1], problem.value.shape[-1]
    call.scale, call.softcap = problem.scale, problem.softcap or 0.0
    alive: list[Any] = []
    for name in ("query", "key", "value"):
        tensor = getattr(problem, name).detach()
        if tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        alive.append(tensor)
        setattr(call, name, tensor.data_ptr())
        setattr(call, f"{name}_stride", tensor.stride()[:3])
    if problem.sinks is not None:
        alive.append(sinks := problem.sinks.detach().float().contiguous())
        call.sinks = sinks.data_ptr()
    if problem.mask is None and not problem.biases:
        return alive
    rules = _native_rules.lower(problem)
    alive.append(rules)
    if rules.first_offset is not None:
        call.has_first, call.first_offset = 1, rules.first_offset
    if rules.last_offset is not None:
        call.has_last, call.last_offset = 1, rules.last_offset
    if rules.limits is not None:
        first, last = rules.limits
        call.row_first, call.row_last = first.data_ptr(), last.data_ptr()
        call.row_stride = _strides(first)
    for name, tensor in (("dense_mask", rules.written), ("bias", rules.bias)):
        if tensor is not None:
            setattr(call, name, tensor.data_ptr())
            setattr(call, f"{name}_stride", _strides(tensor))
    if rules.diagonals is not None:
        alive.append(diagonals := rules.diagonals.contiguous())
        call.diagonal, call.diagonal_stride = diagonals.data_ptr(), (0, diagonals.stride(0))
    return alive


def _point(call: Call, result: Statistics, wants: Wants) -> None:
    """Tell the call where its results go."""
    call.row_max, call.row_sum = (t.data_ptr() for t in result.normalizer)
    if result.output is not None:
        call.output, call.output_stride = result.output.data_ptr(), result.output.stride()[:3]
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


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides in elements, 0 where the tensor broadcasts."""
    return tuple(
        0 if n == 1 else stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
