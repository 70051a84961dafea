"""Rotary positions against the equation, pair by pair."""

import math

import pytest
import torch

from eyeline.rotary import apply_rotary


def angles(length, width):
    rates = 100.0 ** -(torch.arange(width // 2, dtype=torch.float64) * 2 / width)
    return torch.arange(length, dtype=torch.float64)[:, None] * rates


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("width", [2, 8])
def test_pairs_turn_by_their_angle(width, interleaved):
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    angle = angles(5, width)
    spread = angle.repeat_interleave(2, 1) if interleaved else angle.repeat(1, 2)
    turned = apply_rotary(x, spread.cos(), spread.sin(), interleaved=interleaved)
    for p in range(5):
        for n in range(width // 2):
            a, b = (2 * n, 2 * n + 1) if interleaved else (n, n + width // 2)
            cos, sin = math.cos(angle[p, n]), math.sin(angle[p, n])
            one = x[:, p, a] * cos - x[:, p, b] * sin
            two = x[:, p, b] * cos + x[:, p, a] * sin
            assert torch.allclose(turned[:, p, a], one)
            assert torch.allclose(turned[:, p, b], two)
    assert torch.equal(turned[..., width:], x[..., width:])


def test_dot_products_depend_on_distance_only():
    q, k = torch.randn(2, 8, dtype=torch.float64)
    angle = angles(12, 8).repeat(1, 2)
    turned_q = apply_rotary(q.expand(12, 8), angle.cos(), angle.sin())
    turned_k = apply_rotary(k.expand(12, 8), angle.cos(), angle.sin())
    assert torch.allclose(turned_q[5] @ turned_k[2], turned_q[11] @ turned_k[8])


@pytest.mark.parametrize("width", [3, 10])
def test_widths_that_cannot_be(width):
    with pytest.raises(ValueError, match="rotary_dim must be even and at most head_dim 8"):
        apply_rotary(torch.zeros(2, 8), torch.zeros(2, width), torch.zeros(2, width))
