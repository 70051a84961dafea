"""Models and readings that the server holds, within a budget of memory."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from eyeline._memory import free_memory, give_back
from eyeline.capture.loading import LoadedModel
from eyeline.models import BUILT_IN, CATALOGUE, cached
from eyeline.readings import Reading, load, read
from eyeline.server.refusals import Gone, TooLarge
from eyeline.server.work import Report
from eyeline.view.viewed import Viewed

__all__ = ["Opened", "Shelf", "bytes_per_token"]

_SHARE = 0.25
"""Of the memory that is free when the server starts."""

_MOST = 256
"""Readings that are held, however small: a page whose reading is gone reads its text again."""

_SWEEP = 32
"""Readings that are let go of, until their memory is given back to the system."""

_SMALL_SHARE = 0.5
"""Of the budget: beyond it a reading keeps its inputs instead of queries, keys and values."""

Keep: TypeAlias = Literal["vectors", "inputs"]


@dataclass(frozen=True)
class Opened:
    """What the user opened on the command line.

    Attributes:
        text: The text; None where there was none.
        model: Name of the model.
        target: The decoder's side, for encoder-decoders.
        truncate: Read as many tokens as the model can.
        beyond_limit: Read beyond what the model was trained for.
    """

    text: str | None
    model: str
    target: str | None = None
    truncate: bool = False
    beyond_limit: bool = False


@dataclass
class Shelf:
    """Models by name and readings by id; the least recently used reading goes first.

    Attributes:
        opened: What the command line opened.
        budget: Bytes for readings; by default a quarter of the free memory.
        models: Models that are loaded.
    """

    opened: Opened
    budget: int = 0
    models: dict[str, LoadedModel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.budget = self.budget or int(_SHARE * (free_memory() or 4 * 2**30))
        self._readings: OrderedDict[str, tuple[Viewed, int]] = OrderedDict()
        self._given: dict[str, Viewed] = {}
        self._gone = 0
        self._lock = threading.RLock()
        self._loading = threading.RLock()
        self._running: dict[str, threading.RLock] = {}

    def offered(self) -> list[dict[str, Any]]:
        """The models that may be asked for: built in, on this machine, or opened by the user."""
        here = {one.name for one in cached()}
        listed = [
            {"name": name, "title": name, "what_for": one.what_for}
            for name, one in BUILT_IN.items()
        ] + [
            {"name": name, "title": entry.title, "what_for": entry.what_for}
            for name, entry in CATALOGUE.items()
            if name in here
        ]
        names = {one["name"] for one in listed}
        for name in [self.opened.model, *self.models]:
            if name not in names:
                listed.append({"name": name, "title": name, "what_for": ""})
                names.add(name)
        return listed

    def model(self, name: str, report: Report | None = None) -> LoadedModel:
        """A model, loaded if need be; only one that is offered."""
        if name not in self.models and name not in {m["name"] for m in self.offered()}:
            raise Gone(f"{name!r} is no model of this page: choose one from its list")
        with self._loading:
            if name not in self.models:
                if report is not None:
                    report(f"opening {name}", 0, None)
                self.models[name] = load(name, report)
            return self.models[name]

    def lock(self, model: str) -> threading.RLock:
        """Held while a model runs: one text at a time."""
        with self._lock:
            return self._running.setdefault(model, threading.RLock())

    def read(self, text: str, model: str, target: str | None, report: Report) -> tuple[str, Viewed]:
        """A reading and its id; the same text and model give the same id, read once."""
        opened = self.opened
        is_opened = text == opened.text
        name = _name(text, model, target)
        if (held := self._held(name)) is not None:
            return name, held
        loaded = self.model(model, report)
        if not text.strip():
            return name, self.keep(name, Viewed(read(text, loaded)), 0)
        keep, need = self.admit(loaded, text)
        with self.lock(model):
            if (held := self._held(name)) is not None:
                return name, held
            made = read(
                text,
                loaded,
                target=target,
                truncate=is_opened and opened.truncate,
                beyond_limit=is_opened and opened.beyond_limit and loaded.has_rotary_positions,
                keep=keep,
                tick=lambda done, total: report(f"{model} reads", done, total),
            )
        return name, self.keep(name, Viewed(made), need)

    def admit(self, loaded: LoadedModel, text: str) -> tuple[Keep, int]:
        """What to keep of a text and the bytes it takes, made room for before anything runs.

        Raises:
            TooLarge: It would not fit if nothing else were there; says what would.
        """
        limit = loaded.limit or 10**9
        beyond = self.opened.beyond_limit and text == self.opened.text
        length = len(loaded.encode(text)["input_ids"])
        length = length if beyond else min(length, limit)
        keep: Keep = "vectors"
        if bytes_per_token(loaded, keep) * length > _SMALL_SHARE * self.budget:
            keep = "inputs"
        each = bytes_per_token(loaded, keep)
        if each * length > self.budget:
            most = self.budget // each
            raise TooLarge(
                f"the text is {length} tokens, there is memory for {most}: shorten it, "
                "or close other programs and start again",
                largest=most,
            )
        with self._lock:
            self._drop(self.budget - each * length, _MOST - 1)
        return keep, each * length

    def keep(self, name: str, viewed: Viewed, size: int) -> Viewed:
        """Hold a reading under a name."""
        viewed.model_lock = self.lock(viewed.reading.model)
        with self._lock:
            self._drop(self.budget - size, _MOST - 1)
            self._readings[name] = (viewed, size)
            self._gone, full = (0, True) if self._gone >= _SWEEP else (self._gone, False)
        if full:
            give_back()
        return viewed

    def _drop(self, room: int, count: int) -> None:
        """Let go of what was not used for longest, until the rest fits."""
        while self._readings and (self._used() > room or len(self._readings) > count):
            self._readings.popitem(last=False)
            self._gone += 1

    def put(self, reading: Reading) -> str:
        """Hold a reading that was made elsewhere, for good, and its model; returns its id."""
        if reading.loaded is not None:
            self.models.setdefault(reading.model, reading.loaded)
        name = _name(reading.text, reading.model, reading.target)
        self._given[name] = viewed = Viewed(reading)
        viewed.model_lock = self.lock(reading.model)
        return name

    def reading(self, name: str) -> Viewed:
        """A reading by its id.

        Raises:
            Gone: It is not here.
        """
        held = self._held(name)
        if held is None:
            raise Gone("this reading is not held any more: read the text again")
        return held

    def _held(self, name: str) -> Viewed | None:
        with self._lock:
            if name in self._given or name not in self._readings:
                return self._given.get(name)
            self._readings.move_to_end(name)
            return self._readings[name][0]

    def _used(self) -> int:
        return sum(size for _, size in self._readings.values())


def bytes_per_token(loaded: LoadedModel, keep: Keep = "vectors") -> int:
    """What a token costs: what is kept of it in every layer, and one layer's working memory.

    Args:
        loaded: The model.
        keep: "vectors": queries, keys and values. "inputs": what they are made of.
    """
    text = getattr(loaded.config, "text_config", None) or loaded.config
    width = _size(text, ("embed_dim", "hidden_size", "d_model", "n_embd", "dim"), 768)
    heads = _size(text, ("num_attention_heads", "num_heads", "n_head", "n_heads"), 12)
    kv_heads = _size(text, ("num_kv_heads", "num_key_value_heads"), heads)
    head_dim = _size(text, ("head_dim", "d_kv"), width // heads)
    inner = _size(
        text, ("hidden_dim", "intermediate_size", "d_ff", "ffn_dim", "encoder_ffn_dim"), 4 * width
    )
    numbers = (heads + 2 * kv_heads) * head_dim if keep == "vectors" else width
    kept = (loaded.num_layers or 12) * (4 * numbers + 8 * heads)
    working = 4 * (6 * width + 3 * inner)
    logits = 4 * _size(text, ("vocab_size",), 0) if loaded.family in ("masked", "seq2seq") else 0
    return kept + working + logits


def _size(config: Any, names: Sequence[str], default: int) -> int:
    """A size that configurations call by several names."""
    found = (getattr(config, name, None) for name in names)
    return next((size for size in found if isinstance(size, int) and size > 0), default)


def _name(text: str, model: str, target: str | None) -> str:
    what = "\0".join([model, target or "", text]).encode("utf-8", "surrogatepass")
    return hashlib.sha256(what).hexdigest()[:16]
