"""Tiled attention in panels so small that short sequences take many of them."""

import pytest

from eyeline.impl import (
    _complete,
    _strips,
    _tiled_backward,
    _tiled_measure,
    _tiling,
    _windows,
    tiled,
)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 3 rows and 3 keys at a time, masks asked about 2 keys, one group of heads a chunk."""
    live_spans = _tiling.live_spans

    def short_spans(problem, tile, widest=None):
        return live_spans(problem, tile, 3)

    def few_rows(problem, least=32):
        return 3

    for module in (_tiling, _windows, tiled):
        monkeypatch.setattr(module, "PANEL_NUMBERS", 16)
    monkeypatch.setattr(_strips, "STRIP_NUMBERS", 4)
    monkeypatch.setattr(_tiling, "ROWS", 3)
    monkeypatch.setattr(_tiling, "KEY_STEP", 2)
    for module in (_tiled_backward, _tiled_measure, tiled):
        monkeypatch.setattr(module, "rows_per_block", few_rows)
    for module in (_complete, tiled):
        monkeypatch.setattr(module, "live_spans", short_spans)
