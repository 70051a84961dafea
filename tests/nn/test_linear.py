"""Few rows by a large matrix: the same numbers by another way."""

import pytest
import torch
from torch.nn.functional import linear as torchs

from eyeline.nn import Linear
from eyeline.nn.linear import FEW, LARGE, linear


@pytest.mark.parametrize("rows", [(1,), (1, 1), (2, 1), (1, 3), (FEW, 1), (FEW + 1, 1), (2, 7), ()])
@pytest.mark.parametrize("out", [300, 301, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_equal_to_torch(rows, out, bias):
    x, weight = torch.randn(*rows, 200), torch.randn(out, 200)
    added = torch.randn(out) if bias else None
    found = linear(x, weight, added)
    exact = torchs(x.double(), weight.double(), None if added is None else added.double())
    usual = (torchs(x, weight, added) - exact).abs().max()
    assert found.shape == (*rows, out)
    assert (found - exact).abs().max() <= 2 * usual + 1e-5
    assert torch.equal(found, linear(x, weight, added))


def test_the_inputs_stay_as_they_are():
    x, weight, bias = torch.randn(1, 200), torch.randn(300, 200), torch.randn(300)
    copies = [t.clone() for t in (x, weight, bias)]
    linear(x, weight, bias)
    assert all(torch.equal(a, b) for a, b in zip((x, weight, bias), copies, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_dtypes_go_torchs_way(dtype):
    x, weight = torch.randn(1, 200, dtype=dtype), torch.randn(300, 200, dtype=dtype)
    assert torch.equal(linear(x, weight), torchs(x, weight))


def test_gradients_flow():
    layer, x = Linear(200, 300), torch.randn(1, 200)
    assert layer.weight.numel() >= LARGE
    layer(x).sum().backward()
    assert torch.allclose(layer.weight.grad, x.expand(300, 200))
    frozen = layer.requires_grad_(False)
    x.requires_grad_()
    frozen(x).sum().backward()
    assert torch.allclose(x.grad, frozen.weight.sum(0, keepdim=True), atol=1e-4)


def test_strides_and_special_cases():
    weight = torch.randn(200, 300).t()
    x = torch.randn(2, 200).t().contiguous().t()
    assert torch.allclose(linear(x, weight), torchs(x, weight), atol=1e-4)
    assert linear(torch.randn(0, 200), weight).shape == (0, 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16


def test_it_compiles():
    layer = Linear(200, 300).requires_grad_(False)
    x = torch.randn(1, 200)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), layer(x), atol=1e-4)
