import pytest
import torch

from eyeline.biases import Alibi, TensorBias
from eyeline.impl._problem import Problem


def problem(**options):
    query, key, value = (torch.randn(2, heads, n, 4) for heads, n in ((6, 5), (2, 7), (2, 7)))
    return Problem(query, key, value, scale=0.5, **options)


def full():
    return problem(
        biases=(Alibi(torch.rand(6)), TensorBias(torch.randn(5, 7))), sinks=torch.randn(6)
    )


def test_the_shape_is_that_of_the_weights():
    one = problem()
    assert one.shape == (2, 6, 5, 7) and one.group == 3
    assert one.whole().shape == one.shape


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_halves_are_computed_in_float32(dtype, computed):
    tensor = torch.zeros(1, 1, 1, 1, dtype=dtype)
    assert Problem(tensor, tensor, tensor, scale=1.0).compute_dtype == computed


def test_what_is_differentiable_comes_in_a_fixed_order():
    one = full()
    tensors = one.differentiable
    assert [t.shape for t in tensors[3:]] == [(6,), (1, 1, 5, 7), (6,)]
    assert all(a is b for a, b in zip(tensors[:3], (one.query, one.key, one.value), strict=True))
    assert tensors[5] is one.sinks
    assert len(problem().differentiable) == 3


def test_replaced_tensors_land_where_they_belong():
    one = full()
    again = one.with_tensors(tuple(2 * t for t in one.differentiable))
    for new, old in zip(again.differentiable, one.differentiable, strict=True):
        assert torch.equal(new, 2 * old)
    assert again.scale == one.scale and isinstance(again.biases[0], Alibi)


def test_detached_problems_are_outside_of_the_graph():
    one = full()
    for tensor in one.differentiable:
        tensor.requires_grad_()
    assert not any(t.requires_grad for t in one.detached().differentiable)
    assert all(t.requires_grad for t in one.differentiable)
