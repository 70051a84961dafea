"""Panels that hold all live keys of a block of queries, so that each row is complete.

A complete row knows its own maximum and sum: weights, statistics and gradients come out of one
product Q K^T, and what must cancel (a row of softmax gradients sums to 0) is made of the very same
numbers and does cancel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from eyeline.impl._problem import Problem
from eyeline.impl._tiling import Panels, Span, live_spans


@dataclass(frozen=True, eq=False)
class Piece:
    """The part of a panel that belongs to one span: `panel[..., begin:end]`."""

    span: Span
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class CompletePanel:
    """Scores of a block of queries with all of their live keys side by side.

    Attributes:
        query_NMD: The queries, multiplied by the scale.
        panel_NMS: Scores, minus infinity where masked.
        pieces: Which columns are which keys.
        live: With hazards about: cells that are not masked, `[batch, heads, rows, S]`.
        bad_row: Rows that see something non-finite, `[N, M, 1]`.
    """

    query_NMD: Tensor
    panel_NMS: Tensor
    pieces: list[Piece]
    live: Tensor | None
    bad_row: Tensor

    def may_hold_minus_infinity(self, problem: Problem) -> bool:
        """Whether any score can be minus infinity."""
        partial = any(piece.span.partial for piece in self.pieces)
        return bool(problem.biases) or self.live is not None or partial


def complete_panel(panels: Panels, rows: slice) -> CompletePanel | None:
    """The block's scores; None where no key is live for any of the rows."""
    problem = panels.problem
    spans = live_spans(problem, panels.tile(rows, slice(0, problem.shape[3])))
    if not spans:
        return None
    query = panels.fold(problem.query, rows) * problem.scale
    n, m, _ = query.shape
    parts, pieces, begin = [], [], 0
    for number, span in enumerate(spans):
        parts.append(panels.scores(query, rows, span, name=f"span{number}"))
        end = begin + span.cols.stop - span.cols.start
        pieces.append(Piece(span, begin, end))
        begin = end
    if len(parts) == 1:
        panel = parts[0].panel_NMS
    else:
        panel = panels.buffer("panel", n, m, begin)
        torch.cat([p.panel_NMS for p in parts], -1, out=panel)
    if panels.hazards is None:
        no_bad = torch.zeros(n, m, 1, dtype=torch.bool, device=query.device)
        return CompletePanel(query, panel, pieces, None, no_bad)
    live = torch.cat([p.live for p in parts], -1)  # type: ignore[misc]
    bad = torch.cat([p.bad for p in parts], -1)  # type: ignore[misc]
    return CompletePanel(query, panel, pieces, live, bad.any(-1).view(n, m, 1))
