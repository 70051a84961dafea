"""eyeline.biases, which is tested against the paper's code, judges what is called right."""

import torch

from eyeline.biases import alibi_slopes
from eyeline.doctor.catalogue.alibi import ALIBI, canonical


def test_slopes_are_the_papers():
    for heads in (1, 2, 4, 8, 3, 6, 12):
        slopes = ALIBI.run({"num_heads": heads, "length": 2}).slopes
        torch.testing.assert_close(slopes, alibi_slopes(heads).double(), atol=1e-7, rtol=1e-6)


def test_right_falls_with_the_distance():
    bias = ALIBI.run({"num_heads": 8, "length": 4}).bias
    assert bias.shape == (8, 4, 4) and bias[0, 3].tolist() == [-1.5, -1.0, -0.5, 0.0]


def test_what_a_softmax_cannot_see_does_not_count():
    bias = torch.randn(2, 4, 4, dtype=torch.float64)
    moved = bias + torch.randn(2, 4, 1, dtype=torch.float64)
    torch.testing.assert_close(canonical(bias), canonical(moved))
