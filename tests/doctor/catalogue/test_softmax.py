"""torch judges what is called right."""

import pytest
import torch

from eyeline.doctor.catalogue import SOFTMAX


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_right_is_torchs(dim):
    x = 5 * torch.randn(3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(SOFTMAX.run({"x": x, "dim": dim}).weights, x.softmax(dim))


def test_without_the_maximum_it_overflows():
    (variant,) = (v for v in SOFTMAX.singles() if v.names == ("maximum not subtracted",))
    x = torch.tensor([[1000.0, 0.0]])
    assert SOFTMAX.run({"x": x, "dim": -1}, variant.steps).weights.isnan().any()
    small = x / 1000
    torch.testing.assert_close(
        SOFTMAX.run({"x": small, "dim": -1}, variant.steps).weights, small.softmax(-1)
    )
