"""Each rule against its sentence, its errors, and what it knows about tiles of a long text."""

import pytest
import torch

import _oracle
from eyeline import masks
from eyeline._types import Tile, TileKind

SHAPE = (2, 3, 6, 8)
WHOLE = Tile.whole(*SHAPE)
ALLOWED = torch.rand(2, 1, 6, 8, generator=torch.Generator().manual_seed(1)) < 0.5
IDS, KEY_IDS = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([[0, 0, 0, 1, 1, 2, 2, 3]])

RULES = [
    (masks.causal(), lambda b, h, i, j: j <= i, "causal()"),
    (masks.causal(2), lambda b, h, i, j: j <= i + 2, "causal(offset=2)"),
    (masks.sliding_window(3), lambda b, h, i, j: i - 3 < j <= i, "sliding_window((2, 0))"),
    (
        masks.sliding_window((2, -1), offset=1),
        lambda b, h, i, j: j >= i + 1 - 2,
        "sliding_window((2, -1), offset=1)",
    ),
    (masks.sliding_window((0, 1)), lambda b, h, i, j: i <= j <= i + 1, "sliding_window((0, 1))"),
    (masks.prefix(3), lambda b, h, i, j: j < 3, "prefix(3)"),
    (
        masks.prefix(torch.tensor([1, 5])),
        lambda b, h, i, j: j < (1, 5)[b],
        "padding([1, 5])",
    ),
    (
        masks.padding([3, 4], [5, 0]),
        lambda b, h, i, j: 5 <= j < 8 if b == 0 else j < 4,
        "padding([3, 4], starts=[5, 0])",
    ),
    (
        masks.keys(torch.tensor([True, False] * 4)),
        lambda b, h, i, j: j % 2 == 0,
        None,
    ),
    (
        masks.documents(IDS, KEY_IDS),
        lambda b, h, i, j: IDS[i] == KEY_IDS[0, j],
        "documents(3 documents)",
    ),
    (masks.dense(ALLOWED), lambda b, h, i, j: ALLOWED[b, 0, i, j], "dense([2, 1, 6, 8])"),
    (
        masks.predicate(lambda b, h, i, j: (b + h + i + j) % 2 == 0),
        lambda b, h, i, j: (b + h + i + j) % 2 == 0,
        "predicate(<lambda>)",
    ),
]


@pytest.mark.parametrize(("mask", "rule", "name"), RULES, ids=[str(m) for m, _, _ in RULES])
def test_each_cell_follows_the_sentence(mask, rule, name):
    mask.check(*SHAPE)
    found = mask.tile(WHOLE).expand(SHAPE)
    for b in range(2):
        for h in range(3):
            rows = [[bool(rule(b, h, i, j)) for j in range(8)] for i in range(6)]
            assert found[b, h].tolist() == rows
    inner = Tile(slice(1, 2), slice(1, 3), slice(2, 5), slice(3, 7))
    assert torch.equal(mask.tile(inner).expand(inner.shape), found[inner])
    if name is not None:
        assert str(mask) == name


@pytest.mark.parametrize(
    ("mask", "rows", "cols", "kind"),
    [
        (masks.causal(), (0, 256), (256, 384), TileKind.EMPTY),
        (masks.causal(), (0, 256), (255, 384), TileKind.PARTIAL),
        (masks.causal(), (256, 512), (0, 257), TileKind.FULL),
        (masks.causal(), (256, 512), (0, 258), TileKind.PARTIAL),
        (masks.causal(100), (0, 256), (0, 101), TileKind.FULL),
        (masks.causal(100), (0, 256), (356, 400), TileKind.EMPTY),
        (masks.causal(100), (0, 256), (355, 400), TileKind.PARTIAL),
        (masks.sliding_window(64), (256, 512), (0, 193), TileKind.EMPTY),
        (masks.sliding_window(64), (256, 512), (0, 194), TileKind.PARTIAL),
        (masks.sliding_window(64), (256, 288), (225, 257), TileKind.FULL),
        (masks.sliding_window(64), (256, 288), (223, 257), TileKind.PARTIAL),
        (masks.padding([5, 900]), (0, 1), (5, 900), TileKind.PARTIAL),
        (masks.padding([5, 900]), (0, 1), (900, 999), TileKind.EMPTY),
        (masks.padding([5, 900]), (0, 1), (0, 5), TileKind.FULL),
        (masks.keys(torch.arange(999) < 500), (0, 1), (500, 999), TileKind.EMPTY),
        (masks.keys(torch.arange(999) < 500), (0, 1), (499, 501), TileKind.PARTIAL),
        (masks.keys(torch.arange(999) < 500), (0, 1), (0, 500), TileKind.FULL),
        (masks.documents(torch.arange(999) // 100), (0, 100), (100, 999), TileKind.EMPTY),
        (masks.documents(torch.arange(999) // 100), (0, 101), (100, 999), TileKind.PARTIAL),
        (masks.documents(torch.arange(999) // 100), (0, 100), (0, 100), TileKind.FULL),
    ],
)
def test_tiles_that_need_no_work_are_known(mask, rows, cols, kind):
    tile = Tile(slice(0, 2), slice(0, 1), slice(*rows), slice(*cols))
    assert mask.kind(tile) is kind


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: masks.sliding_window(0), ValueError, "at least 1 key, got window_size=0"),
        (lambda: masks.sliding_window((-2, 0)), ValueError, "each >= -1"),
        (lambda: masks.padding([1, 2], [0]), ValueError, "starts has 1 entries, lengths has 2"),
        (lambda: masks.padding([1, -2]), ValueError, "none may be negative"),
        (lambda: masks.padding([1], [-1]), ValueError, "none may be negative"),
        (lambda: masks.keys(torch.ones(3)), ValueError, "keys.. takes bool"),
        (lambda: masks.keys(torch.ones(1, 1, 3).bool()), ValueError, "keys.. takes bool"),
        (lambda: masks.documents(torch.ones(3)), ValueError, r"documents\(ids=\) takes integers"),
        (lambda: masks.documents(IDS, KEY_IDS.bool()), ValueError, r"key_ids=\) takes integers"),
        (lambda: masks.dense(torch.ones(3, 3)), ValueError, "takes a bool tensor"),
        (lambda: masks.dense(torch.ones(1, 1, 1, 3, 3).bool()), ValueError, "at most 4 dim"),
        (
            lambda: masks.predicate(lambda b, h, i, j: i - j).tile(WHOLE),
            TypeError,
            "must return a bool tensor",
        ),
        (lambda: masks.prefix(9).check(*SHAPE), ValueError, "reaches key 9, but kv_len is 8"),
        (lambda: masks.keys(torch.ones(7).bool()).check(*SHAPE), ValueError, "7"),
        (lambda: masks.documents(IDS).check(*SHAPE), ValueError, "length 6, expected 8"),
        (lambda: masks.documents(KEY_IDS).check(*SHAPE), ValueError, "length 8, expected 6"),
        (lambda: masks.dense(ALLOWED[:, :, 1:]).check(*SHAPE), ValueError, "does not broadcast"),
    ],
)
def test_errors_say_what_was_expected(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_judges_predicates_are_the_same_on_numbers_and_arrays():
    rule = _oracle.both(_oracle.window(2, 1, 1), _oracle.opposite(_oracle.causal(-2)))
    written = _oracle.written_out(rule, SHAPE)
    assert all(bool(rule(0, 0, i, j)) == written[0, 0, i, j] for i in range(6) for j in range(8))
