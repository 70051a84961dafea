"""The C++ kernels of `kernels/`, bound: the same attention at the speed of the machine.

Masks and biases go to the kernels as rules (`_native_rules`); autograd, `torch.compile` and `vmap`
know the kernels as operators (`_native_ops`); plain calls take a short way (`_native_quick`).
"""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from eyeline._compiling import constant_in_graphs
from eyeline._types import Tile
from eyeline.impl import _native_ops, _native_rules, _native_window, _windows
from eyeline.impl._native_library import DTYPES, WIDEST, library
from eyeline.impl._native_operands import Operands
from eyeline.impl._native_run import run
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Normalizer, Reduce, RowNumbers, Statistics, Wants
from eyeline.impl._transforms import FORWARD_MODE, forward_mode

MOST_TOP_K = 64


@constant_in_graphs
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
    if wants is not None and wants.top_k > MOST_TOP_K:
        return f"the kernels find up to {MOST_TOP_K} largest weights, not {wants.top_k}"
    if forward_mode(problem.differentiable):
        return f"the kernels have no {FORWARD_MODE}"
    return missing() or _native_rules.too_large(problem)


def attend(problem: Problem) -> tuple[Tensor, Normalizer]:
    """Output `[B, H, L, D_v]`, and each row's maximum and sum; gradients to every input."""
    output, maximum, total = _native_ops.attend(Operands.of(problem))
    return output, Normalizer(maximum.detach(), total.detach())


def rows(problem: Problem) -> RowNumbers:
    """Log-sum-exp and entropy of each row `[B, H, L]`; gradients to every input but the values."""
    return RowNumbers(*_native_ops.rows(Operands.of(problem.without_values())))


def measure(problem: Problem, wants: Wants) -> Statistics:
    """Statistics of the weights, and the output if wanted, in one pass."""
    if any(tensor.requires_grad for tensor in problem.differentiable):
        problem = problem.detached()
    if problem.dropout_p == 0 or not wants.output:
        return run(Operands.of(problem), wants)
    # the kernels observe the weights before dropout; the output is made of those that are left
    operands = Operands.of(problem)
    found = run(operands, replace(wants, output=False))
    found.output = run(operands, Wants(output=True)).output
    return found


def stream(problem: Problem, normalizer: Normalizer, tile: Tile) -> Iterator[tuple[Tile, Tensor]]:
    """The weights of a tile piece by piece, each with the tile that it is."""
    for part in _windows.pieces(problem, tile):
        yield part, _native_window.weights(problem, normalizer, part)


def pixels(
    problem: Problem, normalizer: Normalizer, tile: Tile, pixel: int, reduce: Reduce
) -> Tensor:
    """Sums or maxima of `pixel × pixel` weights of a tile, `[batch, heads, height, width]`."""
    return _native_window.pixels(problem, normalizer, tile, pixel, reduce)
