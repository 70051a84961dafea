import pytest
import torch

from eyeline import masks
from eyeline.biases import Alibi, RelativeBias, TensorBias, alibi_slopes
from eyeline.impl import reference
from eyeline.impl._native_operands import SCHEMA, Operands
from eyeline.impl._problem import Problem

LENGTHS = torch.tensor([6, 4])
ALLOWED = (torch.arange(36).reshape(6, 6) % 5 > 0) | torch.eye(6, dtype=torch.bool)
MASKS = {
    "none": None,
    "causal": masks.causal(1),
    "window": masks.sliding_window((2, 1)),
    "padding": masks.padding(LENGTHS, torch.tensor([0, 1])),
    "documents": masks.documents(torch.tensor([[0, 0, 1, 1, 1, 2]])),
    "written": masks.dense(ALLOWED),
    "all of them": masks.causal() & masks.padding(LENGTHS) & masks.dense(ALLOWED),
}


def problem(**options):
    query, key, value = (torch.randn(2, 2, 6, 4) for _ in range(3))
    return Problem(query, key, value, scale=0.5, **options)


def everything():
    biases = (RelativeBias(torch.randn(32, 2)), TensorBias(torch.randn(1, 2, 6, 6)))
    return problem(
        mask=MASKS["all of them"],
        biases=(*biases, Alibi(alibi_slopes(2))),
        softcap=3.0,
        sinks=torch.randn(2),
        dropout_p=0.25,
        dropout_seed=7,
    )


def test_there_is_a_field_for_every_argument_of_the_schema():
    names = [argument.split()[-1] for argument in SCHEMA.split(", ")]
    assert names == list(Operands._fields)


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_comes_back_as_it_was(mask):
    before = problem(mask=MASKS[mask])
    after = Operands.of(before).problem()
    tile = before.whole()
    written = [
        torch.ones(tile.shape, dtype=torch.bool)
        if one.mask is None
        else one.mask.tile(tile).expand(tile.shape)
        for one in (before, after)
    ]
    assert torch.equal(*written)


def test_the_problem_comes_back_with_the_same_answer():
    before = everything()
    after = Operands.of(before).problem()
    for found, expected in zip(reference.attend(after), reference.attend(before), strict=True):
        found, expected = (x if torch.is_tensor(x) else x.total for x in (found, expected))
        torch.testing.assert_close(found, expected)
    assert (after.dropout_p, after.dropout_seed) == (0.25, 7)


def test_tensors_are_replaced_one_for_one():
    operands = Operands.of(everything())
    doubled = operands.with_tensors(tuple(2 * t for t in operands.differentiable))
    assert len(operands.differentiable) == 6
    for new, old in zip(doubled.differentiable, operands.differentiable, strict=True):
        assert torch.equal(new, 2 * old)
    assert doubled[6:] == operands[6:]
    names = ("query", "key", "value", "bias", "diagonals", "sinks")
    expected = [getattr(operands, name) for name in names]
    assert all(a is b for a, b in zip(operands.differentiable, expected, strict=True))


def test_what_is_absent_is_not_differentiable():
    plain = Operands.of(problem())
    assert len(plain.differentiable) == 3 and plain.rules.bias is None
    assert len(plain.with_tensors(plain.differentiable).differentiable) == 3


def test_a_table_takes_its_gradient_through_the_diagonals():
    table = torch.randn(32, 2, requires_grad=True)
    operands = Operands.of(problem(biases=(RelativeBias(table),)))
    assert operands.bias is None and operands.diagonals.shape == (2, 11)
    (gradient,) = torch.autograd.grad(operands.diagonals.sum(), table)
    assert gradient.sum() == 22


def test_half_precision_is_described_in_float32():
    halves = [torch.randn(1, 2, 6, 4).half() for _ in range(3)]
    bias = TensorBias(torch.randn(6, 6).half())
    operands = Operands.of(Problem(*halves, scale=1.0, biases=(bias,), sinks=torch.ones(2).half()))
    assert operands.dtype == torch.float16
    assert operands.bias.dtype == operands.sinks.dtype == torch.float32
