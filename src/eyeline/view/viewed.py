"""A reading with what views ask again and again: heads, overviews, censuses, kept for a while."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from eyeline.capture.pacing import Tick
from eyeline.heads import HeadReport, census
from eyeline.looks import check_head, check_layer
from eyeline.maps import AttentionMap
from eyeline.measuring import Measure
from eyeline.readings import Reading
from eyeline.view.packets import shades8

__all__ = ["BASE", "CENSUS_QUERIES", "Overview", "Viewed"]

BASE = 4096
"""Pixels along each side of the finest overview: beyond so many tokens single weights are tiles."""

CENSUS_QUERIES = 512
"""Queries of a long text that the census looks at."""

_EXACT_CENSUS = 2048
"""Up to so many queries the census looks at all of them."""

_KEPT_HEADS = 6
_TOP = 8

_Answer = TypeVar("_Answer")


class Overview(NamedTuple):
    """One head seen from afar: all from one pass over its weights.

    Attributes:
        shades: The largest weight under each pixel as a shade, up to 4096 × 4096.
        entropy: In nats, one number a query.
        received: How much each key is attended, one number a key.
    """

    shades: np.ndarray
    entropy: Tensor
    received: Tensor


class Viewed:
    """A reading and what was computed of it. May be asked from several threads.

    Args:
        reading: The reading.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._lock = threading.RLock()
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._reports: dict[tuple[str, int], list[HeadReport]] = {}
        self.model_lock: threading.Lock | threading.RLock = threading.RLock()  # type: ignore[valid-type]

    def layer(self, kind: str, layer: int) -> AttentionMap:
        """The map of a layer; an error if it is not there."""
        maps = self.reading.maps(kind)
        return maps[check_layer(maps, layer, kind)]

    def head(self, kind: str, layer: int, head: int) -> AttentionMap:
        """The map of one head; what was measured of it is remembered while it is kept."""
        whole = self.layer(kind, layer)
        check_head(whole.shape[1], head)
        return self._keep(("head", kind, layer, head), lambda: whole.select(head=head))

    def overview(self, kind: str, layer: int, head: int) -> Overview:
        """One head from afar."""
        return self._keep(
            ("overview", kind, layer, head), lambda: _overview(self.head(kind, layer, head))
        )

    def reports(self, kind: str, layer: int) -> list[HeadReport]:
        """The census of one layer; of a long text a sample of the queries."""
        key = (kind, layer)
        if key not in self._reports:
            tokens = self.reading.key_tokens(kind)
            queries = CENSUS_QUERIES if len(tokens) > _EXACT_CENSUS else None
            self._reports[key] = census(self.layer(kind, layer), layer, tokens, queries)
        return self._reports[key]

    def steps(self, kind: str, layer: int, head: int, query: int, tick: Tick | None = None) -> Any:
        """The arithmetic of one query."""

        def make() -> Any:
            with self.model_lock:
                return self.reading.steps(layer, head, query, kind=kind, tick=tick)

        return self._keep(("steps", kind, layer, head, query), make)

    def _keep(self, key: Hashable, make: Callable[[], _Answer]) -> _Answer:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            of_a_kind = [k for k in self._kept if k[0] == key[0]]  # type: ignore[index]
            for old in of_a_kind[:-_KEPT_HEADS]:
                del self._kept[old]
        return made


def _overview(one: AttentionMap) -> Overview:
    rows, cols = (min(n, BASE) for n in one.shape[2:])
    seen = one.take(Measure(_TOP, True, True, (rows, cols), "max"))
    assert seen.pooled is not None and seen.entropy is not None and seen.received is not None
    shades = shades8(seen.pooled[0, 0], live_pixels(one, rows, cols))
    return Overview(shades, seen.entropy[0, 0], seen.received[0, 0])


def live_pixels(one: AttentionMap, rows: int, cols: int) -> Tensor | None:
    """Which pixels of a picture cover a cell that the mask allows; None = all, or not known."""
    mask = one.problem.mask
    q_len, kv_len = one.shape[2:]
    limits = None if mask is None else mask.row_limits(q_len, kv_len)
    if limits is None:
        return None
    first, last = (t[0].expand(q_len).clamp(0, kv_len) for t in limits)
    cell = torch.arange(q_len) * rows // max(q_len, 1)
    low = torch.full((rows,), kv_len).scatter_reduce(0, cell, first.cpu(), "amin")
    high = torch.zeros(rows, dtype=torch.long).scatter_reduce(0, cell, last.cpu(), "amax")
    starts = -(-torch.arange(cols) * kv_len // cols)
    stops = -(-(torch.arange(cols) + 1) * kv_len // cols)
    return (starts < high[:, None]) & (stops > low[:, None])
