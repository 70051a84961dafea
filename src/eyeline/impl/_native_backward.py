"""One run of the backward kernels: a gradient for every operand that may take one."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from eyeline.impl._hazards import find_hazards
from eyeline.impl._native_library import BackwardCall, Library, library
from eyeline.impl._native_operands import Operands
from eyeline.impl._native_run import describe, run, strides
from eyeline.impl._statistics import Normalizer, RowGradients, Wants
from eyeline.impl._tiled_backward import backward as careful_backward

FEW_KEYS = 256
"""Up to so many keys it takes as long to walk over them twice, and rounds less."""


class Results(NamedTuple):
    """What the forward pass found: with it the kernels walk over the keys once instead of twice.

    Attributes:
        output: In float32, whatever the operands are.
        normalizer: Each row's maximum and sum.
    """

    output: Tensor
    normalizer: Normalizer

    @staticmethod
    def of(operands: Operands) -> "Results":
        """The same once more."""
        found = run(operands, Wants(output=True, unrounded=True))
        assert found.output is not None
        output = found.output.float() if found.unrounded is None else found.unrounded
        return Results(output, found.normalizer)


def run_backward(
    operands: Operands,
    output_gradient: Tensor,
    numbers: RowGradients | None = None,
    *,
    known: Results | None = None,
    added: bool = True,
) -> list[Tensor]:
    """Gradients in the order of `operands.gradients(added)`, contiguous.

    Args:
        operands: Those of the call.
        output_gradient: The gradient of its output.
        numbers: The gradients of each row's own numbers; they join in.
        known: What the forward pass found, if it was kept.
        added: Whether what is added to the scores gets a gradient.
    """
    empty = min(operands.shape) == 0
    found = None if empty else _kernels(operands, output_gradient, numbers, known, added)
    if found is None:
        found = _careful(operands, output_gradient, numbers, known, added)
    return [gradient.contiguous() for gradient in found]


def _careful(
    operands: Operands,
    output_gradient: Tensor,
    numbers: RowGradients | None,
    known: Results | None,
    added: bool,
) -> Sequence[Tensor]:
    """As in `run`: NaN where the careful panels find it, else the kernels' own bits (N2)."""
    problem = operands.problem()
    every = zip(
        operands.gradients(True), careful_backward(problem, output_gradient, numbers), strict=True
    )
    wanted = operands.gradients(added)
    careful = [gradient for name, gradient in every if name in wanted]
    clean, hazards = find_hazards(problem, output_gradient)
    if hazards is None:
        return careful
    finite = output_gradient.nan_to_num(0, 0, 0)
    if numbers is not None:
        numbers = RowGradients(*(t.nan_to_num(0, 0, 0) for t in numbers))
    ordinary = operands.with_tensors(clean.differentiable)
    if known is not None:
        known = Results.of(ordinary)
    found = _kernels(ordinary, finite, numbers, known, added)
    if found is None:
        return careful
    for gradient, other in zip(found, careful, strict=True):
        gradient.masked_fill_(other.isnan(), torch.nan)
    return found


def _kernels(
    operands: Operands,
    output_gradient: Tensor,
    numbers: RowGradients | None,
    known: Results | None,
    added: bool,
) -> list[Tensor] | None:
    """One call of the kernels; None if they met special values."""
    kernels = library()
    assert isinstance(kernels, Library), "unsupported() was not asked"
    call = BackwardCall(size=ctypes.sizeof(BackwardCall))
    alive = describe(call.call, operands)  # the call holds addresses only
    if output_gradient.stride(-1) != 1:
        output_gradient = output_gradient.contiguous()
    call.output_gradient = output_gradient.data_ptr()
    call.output_gradient_stride = output_gradient.stride()[:3]
    if known is not None:
        alive += (found := [t.contiguous() for t in (known.output, *known.normalizer)])
        call.forward_output, call.forward_max, call.forward_sum = (t.data_ptr() for t in found)
        call.forward_output_stride = found[0].stride()[:3]
    if numbers is not None:
        alive += (rows := [t.to(torch.float32).contiguous() for t in numbers])
        call.logsumexp_gradient, call.entropy_gradient, call.entropy = (t.data_ptr() for t in rows)
    results: list[Tensor] = []
    for name in ("query", "key", "value"):
        results.append(gradient := torch.empty(getattr(operands, name).shape, dtype=operands.dtype))
        setattr(call, f"{name}_gradient", gradient.data_ptr())
        setattr(call, f"{name}_gradient_stride", gradient.stride()[:3])
    if added and operands.bias is not None:
        results.append(gradient := torch.zeros(operands.bias.shape))
        call.bias_gradient, call.bias_gradient_stride = gradient.data_ptr(), strides(gradient)
    if added and operands.diagonals is not None:
        results.append(gradient := torch.zeros(operands.diagonals.shape))
        call.diagonal_gradient = gradient.data_ptr()
    if operands.sinks is not None:
        results.append(gradient := torch.zeros(operands.sinks.shape))
        call.sinks_gradient = gradient.data_ptr()
    fine = kernels.attend_backward(call)
    del alive
    return results if fine else None
