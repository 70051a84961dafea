"""Where tiles lie, and what their pixels hold."""

import pytest
import torch

from eyeline._pyramid import TILE_SIZE, areas, span


@pytest.mark.parametrize("length", [1, 255, 256, 257, 1000, 5000])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_tiles_cover_everything_once(length, level):
    seen, number = torch.zeros(length), 0
    while True:
        try:
            seen[span("i", number, level, length)] += 1
        except IndexError as error:
            assert str(error) == f"tile i={number}: level {level} has {number} (from 0)"
            break
        number += 1
    assert bool((seen == 1).all()) and number == -(-length // (TILE_SIZE << level))


def test_pixels_at_the_edge_hold_fewer():
    assert areas(slice(0, 5), slice(0, 4), 1).tolist() == [[4, 4], [4, 4], [2, 2]]


def test_numbers_below_0_are_refused():
    for number, level in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="count from 0"):
            span("i", number, level, 10)
