"""From scores to output: rows that sum to 1, and mistakes that are there for all to see."""

import pytest
import torch

from eyeline.doctor._cases import Sizes, attention_inputs
from eyeline.doctor.catalogue import ATTENTION

CASE = attention_inputs(Sizes())


def test_the_weights_of_a_row_sum_to_1():
    weights = ATTENTION.run(CASE).weights
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))


@pytest.mark.parametrize(
    "axis, name", [(-2, "softmax over the queries"), (1, "softmax over the heads")]
)
def test_a_softmax_over_another_axis_sums_to_1_there(axis, name):
    (variant,) = (v for v in ATTENTION.singles() if v.names == (name,))
    weights = ATTENTION.run(CASE, variant.steps).weights
    torch.testing.assert_close(weights.sum(axis), torch.ones_like(weights.sum(axis)))
