"""The mean of real tokens, item by item."""

import torch

from eyeline.doctor.catalogue import POOLING


def test_right_is_the_mean_of_what_counts():
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([[2], [5]])
    pooled = POOLING.run({"x": x, "mask": mask}).pooled
    torch.testing.assert_close(pooled[0], x[0, :2].mean(0))
    torch.testing.assert_close(pooled[1], x[1].mean(0))
