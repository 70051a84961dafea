"""The kernels as torch operators, so that autograd, `torch.compile`, `vmap` and tracing know them.

    torch.ops.eyeline.attend(learning, operands)       -> results
    torch.ops.eyeline.attend_backward(dO, known, added, operands)
                                                       -> a gradient per differentiable operand
    torch.ops.eyeline.rows(operands)                   -> log-sum-exp and entropy of each row
    torch.ops.eyeline.rows_backward(numbers, operands) -> a gradient per differentiable operand

"operands" are those of `_native_operands.SCHEMA`; "results" are the output, each row's maximum and
sum, and where gradients will want it ("learning") of half precision the output in float32.
"known" is what gradients begin with: the output in float32, maximum and sum; or None.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, library
from torch.autograd import Function

from eyeline.impl._native_backward import FEW_KEYS, Results, run_backward
from eyeline.impl._native_operands import SCHEMA, Operands
from eyeline.impl._native_run import run
from eyeline.impl._statistics import Normalizer, RowGradients, Wants
from eyeline.impl._tiled_backward import RowsBackward, Second, double_backward
from eyeline.impl._transforms import FORWARD_MODE

__all__ = ["attend"]

_OPERATORS = library.Library("eyeline", "DEF")
_OPERATORS.define(f"attend(bool learning, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)")
_OPERATORS.define(
    "attend_backward(Tensor output_gradient, Tensor? output, Tensor? maximum, Tensor? total, "
    f"bool added, {SCHEMA}) -> Tensor[]"
)
_OPERATORS.define(f"rows({SCHEMA}) -> (Tensor, Tensor)")
_OPERATORS.define(
    "rows_backward(Tensor logsumexp_gradient, Tensor entropy_gradient, Tensor entropies, "
    f"{SCHEMA}) -> Tensor[]"
)
_ATTEND = torch.ops.eyeline.attend.default
_BACKWARD = torch.ops.eyeline.attend_backward.default
_ROWS = torch.ops.eyeline.rows.default
_ROWS_BACKWARD = torch.ops.eyeline.rows_backward.default


def _call(operator, *arguments):
    """The operator, or under `torch.func` the function that stands for it there."""
    if torch._C._are_functorch_transforms_active():
        return _FUNCTIONS[operator].apply(*arguments)
    return operator(*arguments)


def attend(operands: Operands) -> tuple[Tensor, Tensor, Tensor]:
    """Output `[B, H, L, D_v]`, maximum and sum of each row `[B, H, L]`; differentiable."""
    learning = (
        torch.is_grad_enabled()
        and operands.shape[3] > FEW_KEYS
        and any(t.requires_grad for t in operands.differentiable)
    )
    return _call(_ATTEND, learning, *operands)[:3]


def rows(operands: Operands) -> tuple[Tensor, Tensor]:
    """Log-sum-exp and entropy of each row, `[B, H, L]`; differentiable once."""
    return _call(_ROWS, *operands)


@library.impl(_OPERATORS, "attend", "CPU")
def _attend(learning: bool, *operands) -> tuple[Tensor, ...]:
    found = run(Operands(*operands), Wants(output=True, unrounded=learning))
    assert found.output is not None
    unrounded = found.unrounded
    if unrounded is None:  # it is the output, or the careful panels were here
        keep = learning and found.output.dtype != torch.float32
        unrounded = found.output.float() if keep else torch.empty(0)
    return found.output, *found.normalizer, unrounded


@library.register_fake("eyeline::attend", lib=_OPERATORS)
def _attend_fake(learning: bool, *operands) -> tuple[Tensor, ...]:
    query, _, value = operands[:3]
    rows = query.shape[:3]
    output = query.new_empty((*rows, value.shape[-1]))
    maximum, total = (query.new_empty(rows, dtype=torch.float32) for _ in range(2))
    keep = learning and query.dtype != torch.float32
    return output, maximum, total, query.new_empty(output.shape if keep else 0, dtype=torch.float32)


@library.impl(_OPERATORS, "attend_backward", "CPU")
def _attend_backward(
    output_gradient: Tensor,
    output: Tensor | None,
    maximum: Tensor | None,
    total: Tensor | None,
    added: bool,
    *operands,
) -> list[Tensor]:
    known = None
    if output is not None and maximum is not None and total is not None:
        known = Results(output, Normalizer(maximum, total))
    return run_backward(Operands(*operands), output_gradient, known=known, added=added)


@library.register_fake("eyeline::attend_backward", lib=_OPERATORS)
def _attend_backward_fake(*arguments) -> list[Tensor]:
    added, *rest = arguments[4:]
    operands = Operands(*rest)
    tensors = [getattr(operands, name) for name in operands.gradients(added)]
    return [t.new_empty(t.shape) for t in tensors]


@library.impl(_OPERATORS, "rows", "CPU")
def _rows(*operands) -> tuple[Tensor, Tensor]:
    found = run(Operands(*operands), Wants(entropy=True))
    assert found.entropy is not None
    return found.logsumexp, found.entropy


@library.register_fake("eyeline::rows", lib=_OPERATORS)
def _rows_fake(*operands) -> tuple[Tensor, Tensor]:
    query = operands[0]
    logsumexp, entropy = (query.new_empty(query.shape[:3], dtype=torch.float32) for _ in range(2))
    return logsumexp, entropy


@library.impl(_OPERATORS, "rows_backward", "CPU")
def _rows_backward(*arguments) -> list[Tensor]:
    operands = Operands(*arguments[3:])
    return run_backward(operands, operands.query[..., :0], RowGradients(*arguments[:3]))


@library.register_fake("eyeline::rows_backward", lib=_OPERATORS)
def _rows_backward_fake(*arguments) -> list[Tensor]:
    return [t.new_empty(t.shape) for t in Operands(*arguments[3:]).differentiable]


def _keep(ctx, inputs: tuple, output: object) -> None:
    """Save the tensors among the arguments, and remember the others."""
    ctx.save_for_backward(*(x for x in inputs if isinstance(x, Tensor)))
    ctx.others = [None if isinstance(x, Tensor) else (x,) for x in inputs]


def _kept(ctx) -> list:
    """The arguments again."""
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if other is None else other[0] for other in ctx.others]


def _spread(
    operands: Operands, gradients: Sequence[Tensor], added: bool = True
) -> tuple[Tensor | None, ...]:
    """One gradient per argument of `SCHEMA`."""
    known = dict(zip(operands.gradients(added), gradients, strict=True))
    return tuple(known.get(name) for name in Operands._fields)


def _keep_with_results(ctx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    learning, *operands = inputs
    result, maximum, total, unrounded = output
    exact = result if result.dtype == torch.float32 else unrounded
    _keep(
        ctx, (exact, maximum, total, *operands) if learning else (None, None, None, *operands), None
    )


def _attend_gradient(ctx, output_gradient: Tensor, *_unused: Tensor):
    output, maximum, total, *rest = _kept(ctx)
    operands = Operands(*rest)
    added = any(ctx.needs_input_grad[4:6])  # bias, diagonals
    gradients = _call(_BACKWARD, output_gradient, output, maximum, total, added, *operands)
    return None, *_spread(operands, gradients, added)


def _backward_gradient(ctx, cotangents: Sequence[Tensor]):
    kept = _kept(ctx)
    output_gradient, added, operands = kept[0], kept[4], Operands(*kept[5:])
    every = _spread(operands, cotangents, added)[:_DIFFERENTIABLE]
    first, *seconds = _SECOND.apply(output_gradient, *every, *operands)
    # what is known is a function of the operands: it has no part of its own
    return first, None, None, None, None, *_spread(operands, seconds)


def _second(output_gradient: Tensor, *arguments) -> tuple[Tensor, ...]:
    """Gradients of (output_gradient, *operands.differentiable), from those of the gradients."""
    operands = Operands(*arguments[_DIFFERENTIABLE:])
    cotangents = dict(zip(Operands._fields, arguments[:_DIFFERENTIABLE], strict=False))
    every = tuple(cotangents[name] for name in operands.gradients(True))
    return double_backward(operands.problem(), output_gradient, every)


def _no_third_gradient(ctx, *_cotangents: Tensor):
    Second.backward(ctx)  # raises


def _keep_with_entropies(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    _keep(ctx, (output[1], *inputs), None)


def _rows_gradient(ctx, logsumexp_gradient: Tensor, entropy_gradient: Tensor):
    entropies, *rest = _kept(ctx)
    operands = Operands(*rest)
    numbers = logsumexp_gradient, entropy_gradient, entropies
    gradients = _call(_ROWS_BACKWARD, *numbers, *operands)
    return _spread(operands, gradients)


def _no_second_gradient(ctx, *_cotangents: object):
    RowsBackward.backward(ctx)  # raises


def _one_by_one(call):
    """`vmap` without a rule of its own: each item is a call."""

    def rule(info, in_dims: tuple, *arguments):
        results = []
        for i in range(info.batch_size):
            taken = (
                x if dim is None else x.select(dim, i)
                for x, dim in zip(arguments, in_dims, strict=True)
            )
            results.append(call(*taken))
        stacked = type(results[0])(torch.stack(each) for each in zip(*results, strict=True))
        return stacked, type(stacked)([0] * len(stacked))

    return rule


def _no_forward_mode(ctx, *_tangents: object):
    raise NotImplementedError(f"the kernels have no {FORWARD_MODE}: jacrev, or impl='reference'")


def _as_function(call, keep, gradient, lists: bool = False) -> type[Function]:
    """What `torch.func` can transform: it does not transform what `register_autograd` makes.

    Args:
        call: What it computes.
        keep: Its `setup_context`.
        gradient: Its backward pass.
        lists: Whether `call` returns a list, and `gradient` takes one.
    """

    class Transformed(Function):
        forward = staticmethod(lambda *arguments: tuple(call(*arguments)))
        setup_context = staticmethod(keep)
        backward = staticmethod(lambda ctx, *g: gradient(ctx, g) if lists else gradient(ctx, *g))
        vmap = staticmethod(_one_by_one(lambda *arguments: Transformed.apply(*arguments)))
        jvp = staticmethod(
            _no_forward_mode
        )  # and `torch.compile` leaves the graph: it cannot trace this

    return Transformed


_DIFFERENTIABLE = 6
"""So many of the operands come first, and may take gradients."""

_SECOND = _as_function(_second, _keep, _no_third_gradient)
_FUNCTIONS: dict[object, type[Function]] = {}
for _operator, _setup, _gradient in (
    (_ATTEND, _keep_with_results, _attend_gradient),
    (_BACKWARD, _keep, _backward_gradient),
    (_ROWS, _keep_with_entropies, _rows_gradient),
    (_ROWS_BACKWARD, _keep, _no_second_gradient),
):
    library.register_autograd(_operator, _gradient, setup_context=_setup, lib=_OPERATORS)
    library.register_vmap(_operator, _one_by_one(_operator), lib=_OPERATORS)
    _lists = _operator in (_BACKWARD, _ROWS_BACKWARD)
    _FUNCTIONS[_operator] = _as_function(_operator, _setup, _gradient, _lists)
