"""Exactness of the grouped top-k. Many ties at random: test_properties."""

import pytest
import torch

from eyeline.impl._top_k import top_k_scores


@pytest.mark.parametrize("columns", [1, 5, 256, 1023, 1024, 1025, 1100, 5000])
@pytest.mark.parametrize("k", [1, 8, 64, 300])
def test_equal_to_sorting(columns, k):
    scores = torch.randn(2, 3, columns)
    values, indices = top_k_scores(scores, k)
    expected, order = torch.sort(scores, dim=-1, descending=True, stable=True)
    assert torch.equal(values, expected[..., :k]) and torch.equal(indices, order[..., :k])


@pytest.mark.parametrize("spot", [0, 63, 64, 1000, 4999])
def test_a_needle_anywhere(spot):
    scores = torch.zeros(1, 5000)
    scores[0, spot] = 1
    values, indices = top_k_scores(scores, 3)
    assert values.tolist() == [[1, 0, 0]]
    assert indices.tolist() == [[spot, *[j for j in range(3) if j != spot][:2]]]


def test_ties_across_groups_go_to_the_lower_index():
    scores = torch.zeros(1, 4096)
    scores[0, [4000, 17, 2000, 900]] = 5.0
    scores[0, [3, 4095]] = 7.0
    assert top_k_scores(scores, 5)[1].tolist() == [[3, 4095, 17, 900, 2000]]
    everything = torch.full((1, 4096), 2.0)
    assert top_k_scores(everything, 4)[1].tolist() == [[0, 1, 2, 3]]


def test_rows_with_fewer_live_keys_than_k():
    scores = torch.full((2, 3000), -torch.inf)
    scores[0, [2999, 5]] = 1.0
    values, indices = top_k_scores(scores, 4)
    assert indices[0, :2].tolist() == [5, 2999]
    assert (values[0, 2:] == -torch.inf).all() and (values[1] == -torch.inf).all()


def test_no_k_and_no_columns():
    assert top_k_scores(torch.randn(2, 5), 0)[0].shape == (2, 0)
    assert top_k_scores(torch.randn(2, 0), 3)[1].shape == (2, 0)
