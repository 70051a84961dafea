"""Who is watching: every attention call of a watched model finds its recorder here."""

import re
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from eyeline.capture.keeping import MeasuredMap, Wanted
from eyeline.capture.recipes import AtHand, Recipe, RecomputedMap
from eyeline.capture.records import VECTORS, Kind, Maps, Record
from eyeline.capture.sharing import Past
from eyeline.maps import AttentionMap
from eyeline.measuring import Measure

__all__ = ["Recorder", "Slot", "measure_for", "recording", "slots_for"]

_CROSS = re.compile(r"cross|encoder_attn|enc_?dec|multihead_attn", re.IGNORECASE)


@dataclass
class _Pass:
    records: dict[str, Record] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    layers: Counter[str] = field(default_factory=Counter)


@dataclass
class _Thread:
    """What one thread is in the middle of."""

    depth: int = 0
    now: _Pass = field(default_factory=_Pass)
    before: _Pass = field(default_factory=_Pass)  # calls outside of any pass of the whole model
    past: dict[str, Past] = field(default_factory=dict)


@dataclass(frozen=True)
class Slot:
    """The place where one attention call of one watcher is to be recorded."""

    page: _Pass
    name: str
    module: nn.Module
    kind: Kind
    layer: int
    past: Past
    wanted: Wanted
    at_hand: AtHand

    @property
    def wants_recipe(self) -> bool:
        """Whether a recipe is wanted instead of query, key and value."""
        return self.wanted.keep == "inputs"

    def keeps_vectors(self, recipe: Recipe | str) -> bool:
        """Whether `keep` will hold on to query, key and value."""
        return self.wanted.keep == "vectors" or (self.wants_recipe and isinstance(recipe, str))

    def keep(
        self, seen: AttentionMap, output: Tensor, recipe: Recipe | str, *, shared: bool = False
    ) -> AttentionMap:
        """Record what the call gave.

        Args:
            seen: Its map.
            output: Its output per head.
            recipe: How query, key and value are made again, or why they must be kept.
            shared: Maps of successive steps share their keys already.

        Returns:
            The map as it was recorded.
        """
        wanted, keeps = self.wanted, VECTORS
        if wanted.measure is not None:
            seen.take(wanted.measure)
        if wanted.keep == "statistics" and wanted.measure is not None:
            shown, keeps = MeasuredMap(seen, wanted.measure), "statistics"
        elif wanted.keep == "vectors":
            shown = seen if shared else self.past.share(seen)
        elif isinstance(recipe, Recipe):
            shown, keeps = RecomputedMap(seen, recipe, self.at_hand), "inputs"
        else:
            shown = seen if shared else self.past.share(seen)
            keeps = f"{VECTORS}: {recipe}"
        kept = output.detach() if wanted.outputs else None
        record = Record(self.name, self.module, self.kind, self.layer, shown, kept, keeps)
        self.page.records[self.name] = record
        return shown


class Recorder:
    """Collects the attention calls of one `watch` block.

    Args:
        model: The watched model.
        layers: Numbers of the layers to keep; None = all.
        wanted: What to keep of each call.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Collection[int] | None,
        wanted: Wanted = Wanted(),  # noqa: B008 - frozen
    ) -> None:
        self._wanted, self._at_hand = wanted, AtHand()
        self.maps = Maps()
        self.layers = None if layers is None else frozenset(layers)
        self.layers_met: set[int] = set()
        self.silent_pass = False
        self._names = {id(module): name for name, module in model.named_modules()}
        self._threads: dict[int, _Thread] = {}

    def knows(self, module: nn.Module) -> bool:
        """Whether the module is part of the watched model."""
        return id(module) in self._names

    @property
    def _thread(self) -> _Thread:
        return self._threads.setdefault(threading.get_ident(), _Thread())

    def begin(self, model: nn.Module, _args: Any) -> None:
        """A forward pass of the whole model starts (a forward pre-hook)."""
        if self not in _listening(model):
            return
        thread = self._thread
        if thread.depth == 0:
            thread.now = _Pass()
        thread.depth += 1

    def end(self, model: nn.Module, _args: Any, output: Any) -> None:
        """It has ended (a forward hook that is also called, without output, when it raised)."""
        if self not in _listening(model):
            return
        thread = self._thread
        thread.depth -= 1
        if thread.depth > 0:
            return
        done, before = thread.now, thread.before
        thread.now, thread.before = _Pass(), _Pass()
        if output is None:
            return
        if before.records.keys() & done.records.keys():
            self._publish(before.records)
            before = _Pass()
        self.silent_pass |= not (done.calls or before.calls)
        self._publish(before.records | done.records)

    def close(self) -> None:
        """The block is over: what ran outside of any pass becomes a pass of its own."""
        for thread in self._threads.values():
            self._publish(thread.before.records)
            thread.before = _Pass()

    def slot(self, module: nn.Module, causal: bool, cross: bool | None) -> Slot | None:
        """Count an attention call; where to record it, or None if its layer was not chosen."""
        thread = self._thread
        name = self._names[id(module)]
        if thread.depth == 0 and thread.before.calls[name]:
            self._publish(thread.before.records)
            thread.before = _Pass()
        page = thread.now if thread.depth else thread.before
        kind = _kind(name, module, causal, cross)
        repeats = page.calls[name]
        # a module that is called again serves the next layer, whatever its name says
        layer = page.layers[kind] if repeats else _layer(name, module)
        page.calls[name] += 1
        page.layers[kind] += 1
        self.layers_met.add(layer)
        if self.layers is not None and layer not in self.layers:
            return None
        name = f"{name}@{repeats}" if repeats else name
        past = thread.past.setdefault(name, Past())
        return Slot(page, name, module, kind, layer, past, self._wanted, self._at_hand)

    def _publish(self, records: dict[str, Record]) -> None:
        if records:
            self.maps.record_passes.append(records)


_recorders: list[Recorder] = []
_own: ContextVar[tuple[Recorder, ...]] = ContextVar("eyeline_recorders", default=())


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """The recorder is told of attention calls while the block lasts."""
    token = _own.set((*_own.get(), recorder))
    _recorders.append(recorder)
    try:
        yield
    finally:
        _recorders.remove(recorder)
        _own.reset(token)
        recorder.close()


def slots_for(module: nn.Module, *, causal: bool, cross: bool | None = None) -> list[Slot]:
    """Where to record this call: one slot for each watcher that wants it."""
    # gradient checkpointing repeats the forward pass inside of the backward pass: nothing new
    if torch._C._current_graph_task_id() != -1:
        return []
    slots = (r.slot(module, causal, cross) for r in _listening(module))
    return [s for s in slots if s is not None]


def measure_for(slots: Sequence[Slot]) -> Measure | None:
    """What to measure in the same pass as the output; other watchers' wishes take another pass."""
    return next((s.wanted.measure for s in slots if s.wanted.measure is not None), None)


def _listening(module: nn.Module) -> list[Recorder]:
    """Who is told of what this thread does with the module.

    A thread with watchers of its own reports to these. One without (a worker that `generate` was
    handed to) reports to all, for its caller's are among them.
    """
    mine = [r for r in _own.get() if r.knows(module)]
    return mine or [r for r in _recorders if r.knows(module)]


def _kind(name: str, module: nn.Module, causal: bool, cross: bool | None) -> Kind:
    # what stands behind the layer's number names the attention; before it, the stack
    own_name = re.split(r"(?:^|\.)\d+(?=\.|$)", name)[-1]
    if cross is None:
        cross = bool(getattr(module, "is_cross_attention", False)) or bool(
            _CROSS.search(own_name) or _CROSS.search(type(module).__name__)
        )
    if cross:
        return "cross"
    is_decoder = getattr(module, "is_decoder", False) or "decoder" in name.split(".")
    return "decoder" if causal or is_decoder else "encoder"


def _layer(name: str, module: nn.Module) -> int:
    number = getattr(module, "layer_idx", None)
    if isinstance(number, int):
        return number
    found = re.search(r"(?:^|\.)(\d+)(?=\.|$)", name)
    return int(found[1]) if found else 0
