import pytest
import torch

from eyeline.nn import ACTIVATIONS, FeedForward, GatedFeedForward


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_equations(name):
    x, function = torch.randn(2, 3, 8), ACTIVATIONS[name]
    plain = FeedForward(8, 20, name)
    up, down = plain.up_proj, plain.down_proj
    expected = function(x @ up.weight.T + up.bias) @ down.weight.T + down.bias
    assert torch.allclose(plain(x), expected, atol=1e-6)
    gated = GatedFeedForward(8, 20, name)
    assert gated.up_proj.bias is None
    inner = function(x @ gated.gate_proj.weight.T) * (x @ gated.up_proj.weight.T)
    assert torch.allclose(gated(x), inner @ gated.down_proj.weight.T, atol=1e-6)
    assert name in repr(plain) and name in repr(gated)


def test_gelus():
    x = torch.linspace(-4, 4, 99)
    exact = x * 0.5 * (1 + torch.erf(x / 2**0.5))
    assert torch.allclose(ACTIVATIONS["gelu"](x), exact, atol=1e-6)
    for name, bound in (("gelu_tanh", 5e-4), ("quick_gelu", 2.1e-2)):
        error = (ACTIVATIONS[name](x) - exact).abs().max()
        assert 1e-5 < error < bound


def test_dropout_stands_before_the_second_matrix():
    network = FeedForward(8, 20, "relu", dropout=1.0)
    assert torch.equal(network(torch.randn(3, 8)), network.down_proj.bias.expand(3, 8))
    assert not torch.equal(network.eval()(torch.ones(1, 8))[0], network.down_proj.bias)


@pytest.mark.parametrize("kind", [FeedForward, GatedFeedForward])
def test_an_unknown_function(kind):
    with pytest.raises(ValueError, match=r"'swoosh' is unknown; choose one of relu, gelu"):
        kind(8, 20, "swoosh")
