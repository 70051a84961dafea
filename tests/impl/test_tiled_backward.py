"""The backward pass as it is used: partial gradients, half precision, a second derivative."""

import pytest
import torch

import eyeline


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 2)])
def test_gradients_of_some_inputs_only(impl, which):
    tensors = [torch.randn(1, 2, 5, 4, requires_grad=n in which) for n in range(3)]
    eyeline.attention(*tensors, is_causal=True, impl=impl).sum().backward()
    assert [t.grad is not None for t in tensors] == [n in which for n in range(3)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_come_in_the_inputs_dtype(impl, dtype):
    q, k = (torch.randn(1, h, 5, 4, dtype=dtype, requires_grad=True) for h in (2, 1))
    bias = torch.randn(5, 5, requires_grad=True)  # of its own dtype
    sinks = torch.randn(2, dtype=torch.float64, requires_grad=True)
    output = eyeline.attention(q, k, k, bias=bias, sinks=sinks, enable_gqa=True, impl=impl)
    assert output.dtype == dtype
    output.sum().backward()
    assert [t.grad.dtype for t in (q, k, bias, sinks)] == [
        *[dtype, dtype, torch.float32, torch.float64]
    ]


def test_an_expanded_cotangent(impl):
    q = torch.randn(1, 2, 5, 4, requires_grad=True)
    output = eyeline.attention(q, q, q, impl=impl)
    (by_sum,) = torch.autograd.grad(output.sum(), q, retain_graph=True)
    (by_ones,) = torch.autograd.grad(output, q, torch.ones(1, 2, 5, 4))
    torch.testing.assert_close(by_sum, by_ones)


def test_one_tensor_in_all_three_places(impl):
    x = torch.randn(1, 1, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: eyeline.attention(x, x, x, impl=impl), x)


def test_nobody_asks_twice_without_saying_so():
    q = torch.randn(1, 1, 4, 3, requires_grad=True)
    eyeline.attention(q, q, q, impl="tiled").sum().backward()
    first = q.grad.clone()
    eyeline.attention(q, q, q, impl="tiled").sum().backward()
    torch.testing.assert_close(q.grad, 2 * first)


def test_the_second_derivative_equals_the_references():
    results = []
    for impl in ("reference", "tiled"):
        torch.manual_seed(0)
        q, k, v = (torch.randn(1, 2, 300, 8, dtype=torch.float64) for _ in range(3))
        for tensor in (q, k, v):
            tensor.requires_grad_()
        output = eyeline.attention(q, k, v, is_causal=True, impl=impl)
        gradients = torch.autograd.grad(output.square().sum(), (q, k, v), create_graph=True)
        loss = sum(g.square().sum() for g in gradients)
        results.append(torch.autograd.grad(loss, (q, k, v)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_third_derivative_is_refused_rather_than_wrong():
    q = torch.randn(1, 1, 3, 2, dtype=torch.float64, requires_grad=True)
    output = eyeline.attention(q, q, q, impl="tiled")
    (first,) = torch.autograd.grad(output.square().sum(), q, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match=r"twice, not three times.*impl='reference'"):
        torch.autograd.grad(second.sum(), q)
