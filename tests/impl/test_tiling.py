"""How a problem is cut: everything is covered once, nothing that a mask hides is touched."""

import pytest
import torch

from eyeline import masks
from eyeline._types import Tile
from eyeline.impl import _tiling
from eyeline.impl._problem import Problem


def problem(batch=1, heads=1, kv_heads=1, q_len=1024, kv_len=1024, mask=None):
    query = torch.empty(batch, heads, q_len, 4)
    key = torch.empty(batch, kv_heads, kv_len, 4)
    return Problem(query, key, key, scale=1.0, mask=mask)


def cut(one, rows, widest=None):
    tile = one.whole()._replace(rows=slice(*rows))
    return [
        (s.cols.start, s.cols.stop, [(p.start, p.stop) for p in s.partial])
        for s in _tiling.live_spans(one, tile, widest)
    ]


def test_spans_without_a_mask_are_whole():
    assert cut(problem(), (0, 256)) == [(0, 1024, [])]
    assert cut(problem(kv_len=0), (0, 256)) == []
    assert cut(problem(), (0, 256), 400) == [(0, 400, []), (400, 800, []), (800, 1024, [])]


def test_a_mask_leaves_live_keys_and_says_where_it_must_be_evaluated():
    causal = problem(mask=masks.causal())
    assert cut(causal, (0, 256)) == [(0, 256, [(0, 256)])]
    assert cut(causal, (512, 768)) == [(0, 768, [(512, 768)])]
    assert cut(causal, (512, 768), 600) == [(0, 600, [(512, 600)]), (600, 768, [(600, 768)])]
    window = problem(mask=masks.sliding_window(128))
    assert cut(window, (512, 768)) == [(384, 768, [(384, 768)])]
    split = problem(mask=masks.prefix(128) | masks.sliding_window(1))
    assert cut(split, (512, 513)) == [(0, 128, []), (512, 640, [(512, 640)])]
    assert cut(problem(mask=masks.prefix(0)), (0, 256)) == []
    assert cut(problem(mask=masks.padding([300])), (0, 9)) == [(0, 384, [(256, 384)])]


@pytest.mark.parametrize("layout", [(1, 1, 1), (3, 8, 2), (5, 6, 6), (2, 5, 1)])
@pytest.mark.parametrize("numbers", [1, 5000, 2**21])
def test_chunks_cover_every_head_once_in_whole_groups(monkeypatch, layout, numbers):
    monkeypatch.setattr(_tiling, "PANEL_NUMBERS", numbers)
    batch, heads, kv_heads = layout
    one = problem(batch, heads, kv_heads, 40, 40, masks.causal())
    seen = torch.zeros(batch, heads)
    for items, some in _tiling.chunks(one, 16):
        seen[items, some] += 1
        assert some.start % one.group == 0 and some.stop % one.group == 0
        group_size = (items.stop - items.start) * (some.stop - some.start) * 16 * 40
        assert group_size <= max(numbers, one.group * 16 * 40)
    assert (seen == 1).all()


def test_row_blocks_cover_every_row_once():
    one = problem(q_len=10)
    assert [(r.start, r.stop) for r in _tiling.row_blocks(one, 4)] == [(0, 4), (4, 8), (8, 10)]
    assert _tiling.rows_per_block(problem(kv_len=100)) == _tiling.ROWS
    assert _tiling.rows_per_block(problem(kv_len=2**20)) == 32
    assert _tiling.rows_per_block(problem(kv_len=2**20), least=16) == 16
    assert _tiling.rows_per_block(problem(kv_len=2**14)) == 128


def test_fold_and_unfold_are_each_others_inverse():
    query, key = torch.randn(3, 6, 10, 4), torch.randn(3, 2, 7, 4)
    one = Problem(query, key, key, scale=1.0)
    panels = _tiling.Panels(one, None, slice(1, 3), slice(3, 6))
    rows = slice(2, 9)
    folded = panels.fold(query, rows)
    assert folded.shape == (2, 3 * 7, 4) and panels.key_NSD.shape == (2, 7, 4)
    assert torch.equal(panels.unfold(folded, rows), query[1:3, 3:6, rows])
    scores = panels.scores(folded, rows, _tiling.Span(slice(1, 6), ()))
    expected = query[1:3, 3:6, rows] @ key[1:3, 1:2, 1:6].transpose(-2, -1)
    torch.testing.assert_close(panels.unfold(scores.panel_NMS, rows), expected)
    assert panels.tile(rows, slice(1, 6)) == Tile(slice(1, 3), slice(3, 6), rows, slice(1, 6))


def test_scratch_is_reused_and_grows():
    q = torch.randn(1, 1, 4, 4)
    panels = _tiling.Panels(Problem(q, q, q, scale=1.0), None, slice(0, 1), slice(0, 1))
    first = panels.buffer("a", 2, 3)
    assert panels.buffer("a", 5).data_ptr() == first.data_ptr()
    assert panels.buffer("b", 5).data_ptr() != first.data_ptr()
    assert panels.buffer("a", 4, 5).shape == (4, 5)
