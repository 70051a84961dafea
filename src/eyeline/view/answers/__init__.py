"""Every question that a view may ask of a reading, and its answer as a packet.

Server, notebook widget and exported page ask the same questions, so they show the same numbers.
"""

from collections.abc import Callable

from eyeline.view.answers import changes as _changes
from eyeline.view.answers import heads as _heads
from eyeline.view.answers import maps as _maps
from eyeline.view.answers import rows as _rows
from eyeline.view.answers import steps as _steps
from eyeline.view.answers import summary as _summary
from eyeline.view.answers.parameters import Asked as Asked

QUESTIONS: dict[str, Callable[[Asked], bytes]] = {
    "summary": _summary.answer,
    "look": _rows.look,
    "row": _rows.row,
    "head": _rows.head,
    "heads": _heads.heads,
    "overview": _maps.overview,
    "tile": _maps.tile,
    "steps": _steps.steps,
    "cell": _steps.cell,
    "change": _changes.change,
    "effects": _changes.effects,
}
"""Name → what answers it."""

__all__ = ["QUESTIONS", "Asked"]
