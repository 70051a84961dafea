"""One run of the backward kernels: every gradient, from every layout of the output's gradient."""

import pytest
import torch

from eyeline import masks
from eyeline.biases import Diagonals, TensorBias
from eyeline.impl import native, reference
from eyeline.impl._native_backward import run_backward
from eyeline.impl._native_operands import Operands
from eyeline.impl._problem import Problem

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

ROWS, KEYS, WIDTH = 37, 53, 16


def problem(query_heads=4, key_heads=2, q_len=ROWS, kv_len=KEYS, **options):
    return Problem(
        torch.randn(2, query_heads, q_len, WIDTH),
        torch.randn(2, key_heads, kv_len, WIDTH),
        torch.randn(2, key_heads, kv_len, WIDTH + 3),
        scale=0.3,
        **options,
    )


def cotangent(one: Problem) -> torch.Tensor:
    return torch.randn(*one.query.shape[:3], one.value.shape[-1])


def expected(one: Problem, gradient: torch.Tensor) -> list[torch.Tensor]:
    """The gradients that autograd finds through the equation, in float64."""
    leaves = tuple(t.double().requires_grad_() for t in one.differentiable)
    output, _ = reference.attend(one.with_tensors(leaves))
    return [g.float() for g in torch.autograd.grad(output, leaves, gradient.double())]


def found(one: Problem, gradient: torch.Tensor) -> list[torch.Tensor]:
    return run_backward(Operands.of(one), gradient)


@pytest.mark.parametrize("spoiled", [False, True])
def test_what_is_added_may_go_without(spoiled):
    one = problem(
        biases=(
            TensorBias(torch.randn(1, 4, ROWS, KEYS)),
            Diagonals(torch.randn(4, ROWS + KEYS - 1), ROWS),
        ),
        sinks=torch.randn(4),
    )
    if spoiled:
        one.value[0, 0, 3, 0] = torch.inf
    gradient, operands = cotangent(one), Operands.of(one)
    every = dict(zip(operands.gradients(True), run_backward(operands, gradient), strict=True))
    fewer = run_backward(operands, gradient, added=False)
    names = operands.gradients(False)
    assert names == ["query", "key", "value", "sinks"] and len(fewer) == 4
    for name, found_alone in zip(names, fewer, strict=True):
        torch.testing.assert_close(found_alone, every[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": masks.causal(3)},
        {"mask": masks.padding([KEYS, 20]), "softcap": 2.0},
        {"sinks": torch.randn(4)},
        {"dropout_p": 0.4, "dropout_seed": 11},
    ],
    ids=["plain", "causal", "padding and softcap", "sinks", "dropout"],
)
def test_every_operand_takes_its_gradient(options):
    one = problem(**options)
    gradient = cotangent(one)
    torch.testing.assert_close(found(one, gradient), expected(one, gradient))


@pytest.mark.parametrize(
    "shape", [(KEYS,), (ROWS, 1), (4, 1, 1), (2, 1, ROWS, KEYS), (1,)], ids=str
)
def test_a_bias_that_broadcasts_takes_the_sum_over_what_it_was_added_to(shape):
    one = problem(biases=(TensorBias(torch.randn(shape)),))
    gradient = cotangent(one)
    torch.testing.assert_close(found(one, gradient), expected(one, gradient))


def test_a_bias_of_diagonals_takes_one_number_for_each():
    one = problem(biases=(Diagonals(torch.randn(4, ROWS + KEYS - 1), ROWS),))
    gradient = cotangent(one)
    torch.testing.assert_close(found(one, gradient), expected(one, gradient))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_layout_of_the_outputs_gradient_changes_no_bit(dtype):
    one = problem()
    one = one.with_tensors(tuple(t.to(dtype) for t in one.differentiable))
    full = cotangent(one)[..., :1].to(dtype).expand(-1, -1, -1, one.value.shape[-1])
    plain = found(one, full.contiguous())
    layouts = {
        "expanded": full,
        "heads inside": full.transpose(1, 2).contiguous().transpose(1, 2),
        "width outside": full.transpose(2, 3).contiguous().transpose(2, 3),
        "every second": full.contiguous().repeat_interleave(2, -1)[..., ::2],
    }
    for name, layout in layouts.items():
        assert not layout.is_contiguous(), name
        for one_gradient, other in zip(found(one, layout), plain, strict=True):
            assert torch.equal(one_gradient, other), name


def test_ordinary_numbers_take_no_careful_path(careful_calls):
    one = problem(mask=masks.causal())
    found(one, cotangent(one))
    assert not careful_calls


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["key", "value", "gradient"])
def test_a_special_value_shows_where_it_is_seen_and_changes_no_bit_elsewhere(
    careful_calls, where, number
):
    one = problem(4, 4, mask=masks.causal())
    gradient = cotangent(one)
    clean = found(one, gradient)
    tensor = {"key": one.key, "value": one.value, "gradient": gradient}[where]
    tensor[0, 1, 30, 2] = number  # batch 0, head 1 and the rows from 30 on see it
    gradients = found(one, gradient)
    assert careful_calls
    query_gradient = gradients[0]
    assert query_gradient[0, 1, 30].isnan().all()
    assert torch.equal(query_gradient[0, 1, :30], clean[0][0, 1, :30])
    for one_gradient, other in zip(gradients, clean, strict=True):
        assert torch.equal(one_gradient[1], other[1])
        assert torch.equal(one_gradient[0, 2:], other[0, 2:])


def test_a_special_value_that_nobody_sees_changes_no_bit(careful_calls):
    one = problem(mask=masks.padding([40, 20]))
    gradient = cotangent(one)
    clean = found(one, gradient)
    for tensor in (one.key, one.value):
        tensor[1, :, 20:] = torch.nan
    assert all(torch.equal(a, b) for a, b in zip(found(one, gradient), clean, strict=True))


@pytest.mark.parametrize(
    "sizes", [{"q_len": 0}, {"kv_len": 0}, {"query_heads": 0, "key_heads": 0}], ids=str
)
def test_lengths_of_zero_give_gradients_of_zero(sizes):
    one = problem(**sizes)
    for operand, gradient in zip(one.differentiable, found(one, cotangent(one)), strict=True):
        assert gradient.shape == operand.shape
        assert not gradient.any()
