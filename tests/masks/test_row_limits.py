"""`row_limits`: what it claims is the mask; where keys are neighbours it does claim it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import _draw
import eyeline
from eyeline import masks
from eyeline._types import Tile
from eyeline.masks.rules import Rows

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(0, 9), st.integers(0, 9))


def written(mask, shape):
    return mask.tile(Tile.whole(*shape)).expand(shape)


def from_limits(limits, shape):
    first, last = (side[:, None, :, None] for side in limits)
    key = torch.arange(shape[3])
    return ((first <= key) & (key < last)).expand(shape)


def is_the_mask(mask, shape):
    return torch.equal(from_limits(mask.row_limits(*shape[2:]), shape), written(mask, shape))


@_draw.cases(600)
@given(st.data(), SHAPES)
def test_limits_that_are_given_are_the_mask(data, shape):
    mask, _ = data.draw(_draw.masks_and_rules(shape, depth=3))
    if mask.row_limits(*shape[2:]) is not None:
        assert is_the_mask(mask, shape), str(mask)


IDS = torch.tensor([0, 0, 1, 1, 1, 2])
RUN = torch.tensor([False, True, True, True, False, False])
KNOWN = [
    masks.causal(),
    masks.causal(-8),
    masks.sliding_window(2),
    masks.sliding_window((1, -1), offset=1),
    masks.prefix(3),
    masks.prefix(-1),
    masks.padding([2, 4], [3, 0]),
    masks.keys(RUN),
    masks.keys(torch.zeros(6, dtype=torch.bool)),
    masks.documents(IDS),
    masks.documents(IDS, IDS.flip(0).neg()),
    masks.documents(IDS.expand(2, 6), IDS),
    masks.documents(IDS.byte(), IDS.int()),
    Rows(torch.tensor([[0, 3, 9, 1, 0, 2]]), torch.tensor([[2], [5]])),
    masks.causal() & masks.padding([2, 4]),
    masks.causal() | masks.prefix(3),
    masks.prefix(0) | masks.sliding_window(2),
    masks.sliding_window(2) | masks.prefix(0),
    masks.padding([0, 6]) | masks.padding([2, 1], [4, 4]),
    masks.prefix(2) | masks.padding([2], [2]),
    masks.sliding_window(2, offset=-8) | masks.padding([2], [3]),
    masks.padding([2], [1]) | masks.sliding_window((1, 1), offset=9),
    ~masks.causal(),
    ~masks.prefix(0),
    ~masks.prefix(6),
    ~masks.padding([2, 4], [0, 2]),
    ~masks.padding([0], [3]),
    ~masks.padding([2], [4]) & masks.documents(IDS),
    ~(masks.causal() | masks.prefix(3)),
]


@pytest.mark.parametrize("mask", KNOWN, ids=str)
def test_neighbouring_keys_are_known_as_an_interval(mask):
    assert is_the_mask(mask, (2, 1, 6, 6))


@pytest.mark.parametrize(
    "mask",
    [
        masks.keys(~RUN),
        masks.keys(torch.stack([RUN, ~RUN])),
        masks.documents(IDS, IDS.roll(3)),
        masks.documents(IDS.byte(), IDS.roll(3).byte()),
        masks.documents(torch.tensor([100, 100, -100, -100, -100, -100], dtype=torch.int8)),
        masks.dense(torch.ones(6, 6, dtype=torch.bool)),
        masks.predicate(lambda b, h, i, j: j <= i),
        masks.prefix(1) | masks.padding([2], [2]),
        ~masks.sliding_window(2),
        ~masks.padding([2, 2], [0, 2]),
        ~masks.keys(~RUN),
        masks.causal() & masks.keys(~RUN),
        masks.causal() | masks.keys(~RUN),
    ],
    ids=str,
)
def test_of_gaps_and_explicit_cells_nothing_is_claimed(mask):
    assert mask.row_limits(6, 6) is None


@pytest.mark.parametrize(
    "mask",
    [
        masks.causal() | masks.prefix(3),
        ~masks.padding([2]),
        masks.documents(IDS),
        masks.keys(RUN),
        masks.padding([3]) & masks.causal(),
    ],
    ids=str,
)
def test_a_compiled_call_asks_for_no_numbers(mask):
    torch._dynamo.reset()
    q = torch.randn(1, 2, 6, 8)
    compiled = torch.compile(
        lambda q: eyeline.attention(q, q, q, mask), fullgraph=True, backend="eager"
    )
    torch.testing.assert_close(compiled(q), eyeline.attention(q, q, q, mask))


def test_rows_are_a_mask_like_any_other():
    first, last = torch.tensor([[0, 2, 1, 5], [1, 1, 1, 1]]), torch.tensor([[3, 4, 1, 9]])
    mask, shape = Rows(first, last), (2, 1, 4, 6)
    mask.check(*shape)
    for b, h, i, j in torch.cartesian_prod(*map(torch.arange, shape)).tolist():
        assert bool(written(mask, shape)[b, h, i, j]) == (first[b, i] <= j < last[0, i])
    inner = Tile(slice(1, 2), slice(0, 1), slice(1, 3), slice(2, 5))
    assert torch.equal(mask.tile(inner), written(mask, shape)[inner])
    assert torch.equal(
        written(mask.part(slice(1, 2), slice(0, 1)), (1, 1, 4, 6)), written(mask, shape)[1:]
    )
    with pytest.raises(ValueError, match=r"limits \[2, 4\] do not broadcast to \[3, 4\]"):
        mask.check(3, 1, 4, 6)


@pytest.mark.parametrize(
    ("rows", "cols", "kind"),
    [
        ((0, 2), (4, 6), "EMPTY"),
        ((0, 2), (3, 6), "PARTIAL"),
        ((2, 3), (0, 6), "EMPTY"),
        ((0, 1), (0, 3), "FULL"),
        ((0, 2), (2, 3), "FULL"),
        ((0, 2), (1, 3), "PARTIAL"),
        ((3, 4), (0, 5), "EMPTY"),
    ],
)
def test_rows_know_tiles_that_need_no_work(rows, cols, kind):
    mask = Rows(torch.tensor([[0, 2, 1, 5]]), torch.tensor([[3, 4, 1, 9]]))
    assert mask.kind(Tile(slice(0, 2), slice(0, 1), slice(*rows), slice(*cols))).name == kind
