"""Cells of a picture, and requests."""

import math

import pytest
import torch

from eyeline.impl._statistics import Pooling, Wants, cells, pool_dense


@pytest.mark.parametrize(("length", "count"), [(1, 1), (7, 3), (10, 10), (256, 7), (5, 4)])
def test_every_index_has_one_cell_and_every_cell_an_index(length, count):
    found = cells(length, count).tolist()
    assert found == [i * count // length for i in range(length)]
    assert sorted(set(found)) == list(range(count))
    assert cells(length, count, 1, length).tolist() == found[1:]
    assert cells(0, 3).tolist() == []


@pytest.mark.parametrize("reduce", ["sum", "max", "mean"])
def test_pooling_cell_by_cell(reduce):
    weights = torch.rand(1, 2, 5, 7)
    weights[0, 1, 3, 4] = math.nan
    rows, cols = cells(5, 2), cells(7, 3)
    found = pool_dense(weights, rows, cols, (2, 3), reduce)
    reducer = {"sum": torch.sum, "max": torch.amax, "mean": torch.mean}[reduce]
    for r in range(2):
        for c in range(3):
            block = weights[:, :, rows == r][..., cols == c]
            torch.testing.assert_close(found[..., r, c], reducer(block, (2, 3)), equal_nan=True)
    assert int(found.isnan().sum()) == 1


def test_a_picture_has_no_more_cells_than_there_are_weights():
    assert Pooling(9, 2).shape((1, 1, 5, 7)) == (5, 2)
    assert Pooling(9, 9).shape((1, 1, 0, 0)) == (1, 1)


def test_requests_are_checked():
    with pytest.raises(ValueError, match="at least 1 row and 1 column, got 0, 3"):
        Pooling(0, 3)
    with pytest.raises(ValueError, match="reduce must be 'sum', 'max' or 'mean', got 'median'"):
        Pooling(1, 1, "median")
    with pytest.raises(ValueError, match="top_k must not be negative, got -2"):
        Wants(top_k=-2)
