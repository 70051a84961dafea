"""Indices of a lazy map; tests/test_maps.py compares whole look-ups with the dense weights."""

import pytest
import torch

from eyeline._map_index import check_index, expand_ellipsis, needed_span

FULL = slice(None)


def test_indices_count_from_either_end():
    assert [check_index(i, 3, "head") for i in (0, 2, -1, -3)] == [0, 2, 2, 0]
    with pytest.raises(IndexError, match="head 3 does not exist: there are 3"):
        check_index(3, 3, "head")


def test_missing_dimensions_are_full():
    assert expand_ellipsis((0,)) == (0, FULL, FULL, FULL)
    assert expand_ellipsis((..., 5)) == (FULL, FULL, FULL, 5)
    with pytest.raises(TypeError, match="no new axes"):
        expand_ellipsis((None, 0))


@pytest.mark.parametrize(
    "index", [slice(2, 9, 3), slice(-4, None), [7, 2, 5], torch.tensor([3]), 4]
)
def test_only_what_is_needed_is_computed_and_nothing_is_missed(index):
    line = torch.arange(10)
    span, inner = needed_span(index, 10, 3)
    assert torch.equal(line[span][inner], line[index])
    assert span.stop - span.start <= 8
