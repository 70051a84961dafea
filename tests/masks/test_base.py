"""The algebra of masks: &, |, ~, what is known of a tile, how they introduce themselves."""

import itertools

import pytest
import torch

from eyeline import masks
from eyeline._types import Tile, TileKind

EMPTY, FULL, PARTIAL = TileKind.EMPTY, TileKind.FULL, TileKind.PARTIAL
TILE = Tile.whole(1, 1, 4, 4)
KNOWN = {
    EMPTY: masks.prefix(0),
    FULL: masks.prefix(4),
    PARTIAL: masks.prefix(2),
}


def test_what_is_known_of_a_combination():
    """Everything that can be concluded from the two sides is concluded, and nothing else."""
    for left, right in itertools.product(TileKind, repeat=2):
        joined = (KNOWN[left] & KNOWN[right]).kind(TILE)
        either = (KNOWN[left] | KNOWN[right]).kind(TILE)
        assert joined is (
            EMPTY if EMPTY in (left, right) else FULL if left is right is FULL else PARTIAL
        )
        assert either is (
            FULL if FULL in (left, right) else EMPTY if left is right is EMPTY else PARTIAL
        )
    assert (~KNOWN[EMPTY]).kind(TILE) is FULL
    assert (~KNOWN[FULL]).kind(TILE) is EMPTY
    assert (~KNOWN[PARTIAL]).kind(TILE) is PARTIAL


def test_cells_of_a_combination():
    a, b = masks.causal(), masks.prefix(2)
    left, right = (m.tile(TILE).expand(TILE.shape) for m in (a, b))
    assert torch.equal((a & b).tile(TILE), left & right)
    assert torch.equal((a | b).tile(TILE), left | right)
    assert torch.equal((~a).tile(TILE), ~left)
    assert ~~a is a


def test_both_sides_are_checked_and_moved():
    bad = masks.padding([1, 2, 3])
    for mask in (masks.causal() & bad, bad | masks.causal(), ~bad):
        with pytest.raises(ValueError, match="3 batch items, the attention has 2"):
            mask.check(2, 1, 4, 4)
    moved = (masks.causal() & ~bad).to("meta")
    assert moved.right.mask.start.device.type == "meta"
    assert masks.causal().to("meta").right == 0


@pytest.mark.parametrize("other", [True, torch.ones(2, 2, dtype=torch.bool), None])
def test_only_masks_join_masks(other):
    for symbol, join in (("&", lambda m: m & other), (r"\|", lambda m: m | other)):
        with pytest.raises(TypeError, match=f"mask {symbol} .*: join masks only; .*dense"):
            join(masks.causal())


def test_masks_introduce_themselves():
    a, b, c = masks.causal(), masks.prefix(2), masks.sliding_window(3)
    assert str(a & b) == "causal() & prefix(2)"
    assert str((a & b) | ~c) == "(causal() & prefix(2)) | ~sliding_window((2, 0))"
    assert str(~(a | b)) == "~(causal() | prefix(2))"


def test_the_part_of_a_combination_is_numbered_from_zero():
    lengths = masks.padding([1, 3, 4])
    by_head = masks.predicate(lambda b, h, i, j: (3 * b + h + i + j) % 4 == 0)
    whole = Tile.whole(3, 2, 4, 4)
    inner = Tile(slice(1, 3), slice(1, 2), slice(0, 4), slice(0, 4))
    again = Tile.whole(2, 1, 4, 4)
    for mask in (~lengths, lengths & by_head, by_head | ~lengths, ~by_head):
        expected = mask.tile(whole).expand(whole.shape)[inner]
        part = mask.part(inner.batch, inner.heads)
        assert torch.equal(part.tile(again).expand(again.shape), expected)


def test_a_tile_is_full_or_empty_only_if_it_is_in_every_batch_item():
    ids = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [2, 2, 3, 3]])
    corner = TILE._replace(batch=slice(0, 3), rows=slice(0, 2), cols=slice(2, 4))
    documents = masks.documents(ids)
    assert documents.kind(corner) is PARTIAL
    assert documents.kind(corner._replace(batch=slice(1, 2))) is FULL
    assert documents.kind(corner._replace(batch=slice(2, 3))) is EMPTY
    for mask in (masks.padding([4, 0]), masks.keys(torch.tensor([[True] * 4, [False] * 4]))):
        assert mask.kind(TILE._replace(batch=slice(0, 2))) is PARTIAL
        assert mask.kind(TILE._replace(batch=slice(1, 2))) is EMPTY
