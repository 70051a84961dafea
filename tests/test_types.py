"""Tiles."""

from eyeline._types import Tile


def test_a_tile_knows_its_shape():
    assert Tile.whole(2, 3, 4, 5).shape == (2, 3, 4, 5)
    assert Tile(slice(1, 2), slice(0, 3), slice(4, 4), slice(2, 9)).shape == (1, 3, 0, 7)
