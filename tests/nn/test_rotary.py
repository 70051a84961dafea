"""Rotary angles; every kind of stretching against transformers stands in models/test_llama.py."""

import math

import pytest
import torch

from eyeline.nn.rotary import Rotary, Stretch


def test_the_papers_angles():
    cos, sin = Rotary(8, theta=100.0)(torch.tensor([0, 1, 7]))
    assert cos.shape == sin.shape == (1, 3, 8)
    for row, place in enumerate((0, 1, 7)):
        for pair in range(4):
            angle = place * 100 ** (-2 * pair / 8)
            for i in (pair, pair + 4):
                assert cos[0, row, i].item() == pytest.approx(math.cos(angle), abs=1e-6)
                assert sin[0, row, i].item() == pytest.approx(math.sin(angle), abs=1e-6)


def test_positions_of_a_batch_broadcast_over_heads():
    cos, _ = Rotary(8)(torch.tensor([[0, 1], [5, 6], [2, 2]]), torch.float16)
    assert cos.shape == (3, 1, 2, 8) and cos.dtype == torch.float16


def test_divisors_are_a_stretch_of_their_own():
    plain = Rotary(8).frequencies()
    divided = Rotary(8, stretch=Stretch(divisors=(1.0, 2.0, 4.0, 8.0))).frequencies()
    assert torch.equal(divided, plain / torch.tensor([1.0, 2.0, 4.0, 8.0]))


def test_dynamic_depends_on_the_length():
    rotary = Rotary(8, stretch=Stretch("dynamic", factor=2.0, original_length=16))
    assert torch.equal(rotary.frequencies(16), Rotary(8).frequencies())
    assert rotary.frequencies(40)[-1] < rotary.frequencies(16)[-1]
    said, meant = rotary(torch.arange(4), length=40), rotary(torch.tensor([0, 1, 2, 3, 39]))
    assert torch.equal(said[0], meant[0][:, :4])


def test_an_odd_width():
    with pytest.raises(ValueError, match="head_dim 7 is odd"):
        Rotary(7)


def test_factors_of_another_width():
    with pytest.raises(ValueError, match="divisors has 3 numbers, a head has 4 pairs"):
        Rotary(8, stretch=Stretch(divisors=(1.0, 2.0, 3.0)))


def test_no_tokens():
    rotary = Rotary(8, stretch=Stretch("dynamic", factor=2.0))
    assert rotary(torch.arange(0))[0].shape == (1, 0, 8)
