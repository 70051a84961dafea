"""A reading: a text that a model has read. Terminal, notebook, page and file are views of one."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from eyeline import _map_files
from eyeline._errors import EyelineError
from eyeline._origin import Origin
from eyeline._reading_files import from_data, to_data
from eyeline._reading_inputs import (
    TextTooLong,
    check_layers,
    check_text,
    encode,
    predictions_of,
    target_ids,
)
from eyeline.capture import watch
from eyeline.capture.loading import Family, LoadedModel, open_model
from eyeline.capture.pacing import Tick, paced
from eyeline.heads import HeadReport, census
from eyeline.interventions import Change, Outcome, intervene
from eyeline.looks import Look, check_head, check_layer, make_look
from eyeline.maps import AttentionMap
from eyeline.models import resolve
from eyeline.models._progress import Progress
from eyeline.models.built_in import DEFAULT
from eyeline.predictions import Prediction
from eyeline.sight import Sight, make_sight
from eyeline.steps import Steps, make_steps
from eyeline.tokens import Token, find_token, ids_to_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Reading", "TextTooLong", "load", "read"]


def load(
    model: str | Path,
    progress: Progress | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> LoadedModel:
    """Open a model: network, tokenizer, and where they came from.

    BERT, GPT-2, T5, Llama and the Transformer of 2017 run on eyeline's own networks; any other
    architecture opens through transformers, if that is installed.

    Args:
        model: One that is built in ("tiny-gpt", "g2p"), a name of the catalogue
            ("minilm", "smollm2"), a folder in Hugging Face layout, a
            .safetensors file with what belongs to it beside it, a .gguf file, or
            `organisation/name` on the Hub.
        progress: Called as `(stage, done, total)` while something is fetched.
        dtype: What the weights become; float32 shows what a checkpoint's numbers really give.
        device: Where they go.

    Raises:
        ModelNotFound: There is no such model.
        CheckpointError: Its files are missing, damaged, dangerous, or do not fit each other.

    Example:
        >>> model = eyeline.load("smollm2")                                     # doctest: +SKIP
        >>> model.generate("The capital of France is", max_new_tokens=20)       # doctest: +SKIP
    """
    return open_model(resolve(str(model), progress), str(model), dtype=dtype, device=device)


def read(
    text: str,
    model: str | LoadedModel = DEFAULT,
    *,
    target: str | None = None,
    layers: Collection[int] | None = None,
    truncate: bool = False,
    keep: Literal["vectors", "inputs"] = "vectors",
    beyond_limit: bool = False,
    tick: Tick | None = None,
) -> "Reading":
    """Let a model read a text and keep what every token looked at.

    Args:
        text: The text; an encoder's or decoder's input.
        model: A model, or its name (see `load`).
        target: For encoder–decoders: the text on the decoder's side. By default the model writes
            it, greedily. The decoder reads it without the end token, which it is to predict.
        layers: Numbers of the layers to keep; None keeps all. Each costs O(length · width).
        truncate: Read only as many tokens as the model can; without it a longer text is an error.
        keep: "inputs" keeps each attention's inputs instead of its queries, keys and values, for
            long texts: a third to three fifths of the memory, and each map runs its layer's
            projections again when it is asked after another one (see `watch`).
        beyond_limit: Read a text that is longer than what the model was trained for. Only models
            whose positions are computed (rotary) can; what they say there is their own affair.
        tick: Called as `(layers done, layers)` before every layer; it may raise to stop the model.

    Raises:
        TextTooLong: The text is longer than the model's limit, which the message names.
        EyelineError: The text is empty, or a layer does not exist.
        ValueError: `keep` is neither of the two.
    """
    if keep not in ("vectors", "inputs"):
        raise ValueError(f"keep={keep!r}: a reading keeps its 'vectors' or its 'inputs'")
    loaded = load(model) if isinstance(model, str) else model
    check_text(text)
    if layers is not None:
        check_layers(loaded, layers)
    inputs, tokens = encode(loaded, text, truncate, beyond_limit)
    target_tokens: list[Token] = []
    if loaded.family == "seq2seq":
        ids = target_ids(loaded, inputs, target)
        inputs = loaded.with_target(inputs, ids)
        target_tokens = ids_to_tokens(ids, loaded.tokenizer)
    elif target is not None:
        raise EyelineError(f"{loaded.name} is no encoder-decoder: it reads a text without a target")
    with (
        torch.no_grad(),
        paced(loaded.network, tick),
        watch(loaded.network, layers=layers, keep=keep) as maps,
    ):
        said = loaded.run(inputs, last=True)
    records = maps.records.values()
    return Reading(
        text=text,
        tokens=tokens,
        target=target,
        target_tokens=target_tokens,
        model=loaded.name,
        source=loaded.source,
        family=loaded.family,
        maps={(r.kind, r.layer): r.map for r in records},
        predictions=predictions_of(loaded, said, target_tokens or tokens),
        origin=Origin(loaded, inputs, {(r.kind, r.layer): r.name for r in records}, len(tokens)),
    )


class Reading:
    """A text that a model has read.

    Attributes:
        text: The text.
        tokens: Its tokens.
        target_tokens: The decoder's tokens (encoder–decoders only).
        target: The decoder's text as it was given; None where the model wrote it.
        model: Name of the model.
        source: Where its weights came from.
        family: What the model's head says: "encoder", "masked", "causal" or "seq2seq".
        encoder: Layer → map of encoder self-attention; empty if the model has none.
        decoder: Layer → map of decoder self-attention.
        cross: Layer → map of the decoder looking at the encoder.
        predictions: What the model said.
    """

    def __init__(
        self,
        *,
        text: str,
        tokens: Sequence[Token],
        target: str | None,
        target_tokens: Sequence[Token],
        model: str,
        source: str,
        family: Family,
        maps: Mapping[tuple[str, int], AttentionMap],
        predictions: Sequence[Prediction],
        origin: Origin | None = None,
    ) -> None:
        self.text, self.tokens = text, list(tokens)
        self.target, self.target_tokens = target, list(target_tokens)
        self.model, self.source, self.family = model, source, family
        self.predictions = list(predictions)
        self._origin = origin
        self.encoder, self.decoder, self.cross = (
            {layer: m for (k, layer), m in sorted(maps.items()) if k == kind}
            for kind in ("encoder", "decoder", "cross")
        )

    @property
    def kinds(self) -> list[str]:
        """Which attention the model has: "encoder", "decoder", "cross"."""
        return [k for k in ("encoder", "decoder", "cross") if getattr(self, k)]

    def maps(self, kind: str | None = None) -> dict[int, AttentionMap]:
        """Layer → map of one kind; by default the kind that reads the text."""
        kind = self.default_kind if kind is None else kind
        if kind not in self.kinds:
            raise EyelineError(
                f"this reading of {self.model} has no {kind} attention: "
                f"choose from {', '.join(self.kinds)}"
            )
        return getattr(self, kind)

    @property
    def default_kind(self) -> str:
        """The kind that reads the text: "encoder" where there is one, else "decoder"."""
        return "encoder" if self.encoder else "decoder"

    def query_tokens(self, kind: str) -> list[Token]:
        """The tokens that look, in attention of that kind."""
        return self.target_tokens if self.target_tokens and kind != "encoder" else self.tokens

    def key_tokens(self, kind: str) -> list[Token]:
        """The tokens that are looked at."""
        return self.target_tokens if self.target_tokens and kind == "decoder" else self.tokens

    def look(
        self,
        token: str | int,
        *,
        layer: int | None = None,
        head: int | None = None,
        kind: str | None = None,
        hide_sink: bool = False,
        direction: Literal["at", "by"] = "at",
    ) -> Look:
        """What a token looks at, ranked; or who looks at it.

        Args:
            token: Its text ("it"), text and occurrence ("it:2"), or index.
            layer: Only this layer; None = all.
            head: Only this head; None = all.
            kind: "encoder", "decoder" or "cross"; default: the kind that reads the text.
            hide_sink: Leave the first token out and renormalise; the answer says its mass.
            direction: "by" turns the question round: who looks at this token?
        """
        kind = self.default_kind if kind is None else kind
        own, others = self.query_tokens(kind), self.key_tokens(kind)
        if direction == "by":
            own, others = others, own
        return make_look(
            self.maps(kind),
            kind=kind,
            query=find_token(own, token),
            keys=others,
            layer=layer,
            head=head,
            hide_sink=hide_sink,
            direction=direction,
        )

    def steps(
        self,
        layer: int,
        head: int,
        query: str | int,
        *,
        kind: str | None = None,
        tick: Tick | None = None,
    ) -> Steps:
        """The arithmetic of one query in one head, from the token's vector to W_O.

        The model is run once more to see the layer's inputs; other queries and heads of the same
        layer then cost nothing. A reading that was loaded from a file has no
        model with it: its steps begin at q, k and v.

        Args:
            layer: Number of the layer.
            head: Number of the head.
            query: The token, as in `look`.
            kind: "encoder", "decoder" or "cross".
            tick: Called as `(layers done, layers)` while the model runs; it may raise to stop it.
        """
        kind = self.default_kind if kind is None else kind
        maps = self.maps(kind)
        attention_map = maps[check_layer(maps, layer, kind)]
        check_head(attention_map.shape[1], head)
        token = find_token(self.query_tokens(kind), query)
        context: dict[str, Any] = {}
        if self._origin is not None:
            context = self._origin.hear(kind, layer, attention_map, tick)
            attention_map = context.pop("map")
        return make_steps(
            attention_map,
            kind=kind,
            layer=layer,
            head=head,
            query=token,
            keys=self.key_tokens(kind),
            **context,
        )

    def heads(self, kind: str | None = None, queries: int | None = None) -> list[HeadReport]:
        """A census of all self-attention heads: what kind each is here, with its score.

        Args:
            kind: "encoder" or "decoder".
            queries: Look at about this many queries of a long text only; None = all.
        """
        kind = self.default_kind if kind is None else kind
        if kind == "cross":
            raise EyelineError("the census is of self-attention: choose encoder or decoder")
        tokens = self.key_tokens(kind)
        return [
            r for layer, m in self.maps(kind).items() for r in census(m, layer, tokens, queries)
        ]

    def intervene(self, *changes: Change, tick: Tick | None = None) -> Outcome:
        """What the model says without some heads or edges, beside what it said.

        Args:
            changes: `eyeline.interventions.Ablate(layer, head)` or `Cut(layer, head, query, key)`.
            tick: Called as `(layers done, layers)`; it may raise to stop the model.

        Example:
            >>> reading.intervene(Ablate(3, 1)).divergence          # doctest: +SKIP
        """
        return intervene(self, changes, tick=tick)

    @property
    def origin(self) -> Origin:
        """The model that read the text, and what it was given.

        Raises:
            EyelineError: The reading was loaded from a file: no model came with it.
        """
        if self._origin is None:
            raise EyelineError(
                f"this reading was loaded from a file, without {self.model}: "
                "read the text again to change something"
            )
        return self._origin

    @property
    def loaded(self) -> LoadedModel | None:
        """The model and its tokenizer; None where the reading was loaded from a file."""
        return None if self._origin is None else self._origin.loaded

    def show(self, **place: Any) -> Any:
        """The explorer: in a notebook its widget, elsewhere the browser.

        Args:
            place: Where it opens: `token`, `layer`, `head`, `kind`, `lens`.

        Returns:
            The widget; outside of notebooks the server that now runs, with `.link` and `.stop()`.
        """
        from eyeline.view import showing

        return showing.show(self, **place)

    def plot(self, **options: Any) -> "Axes":
        """A figure for a paper, on matplotlib axes; see `eyeline.view.figure.plot_reading`.

        Args:
            options: `layer`, `head`, `token`, `kind`, `hide_sink`, `ax`, `cmap`.
        """
        from eyeline.view.figure import plot_reading

        return plot_reading(self, **options)

    def _repr_html_(self) -> str:
        from eyeline.view.notebook import static_html

        return static_html(self)

    def sight(self, kind: str | None = None) -> Sight:
        """Who may look where, and who does, over all layers and heads.

        Args:
            kind: "encoder", "decoder" or "cross"; default: the kind that reads the text.
        """
        kind = self.default_kind if kind is None else kind
        return make_sight(self.maps(kind), kind, self.query_tokens(kind), self.key_tokens(kind))

    def save(self, path: str | Path) -> None:
        """Write the reading (text, tokens, maps, predictions; not the model) to safetensors."""
        maps = {
            f"{kind}/{layer}": (m.problem, m.normalizer)
            for kind in self.kinds
            for layer, m in self.maps(kind).items()
        }
        _map_files.save(maps, Path(path), to_data(self))

    @classmethod
    def load(cls, path: str | Path) -> "Reading":
        """Read what `save` wrote.

        Raises:
            EyelineError: The file is missing, damaged, or not a reading.
        """
        maps, extra = _map_files.load_extra(Path(path))
        if not isinstance(extra, dict) or "tokens" not in extra:
            raise EyelineError(f"{path} holds a map, not a reading: open it with AttentionMap.load")
        try:
            found = {}
            for name, (problem, normalizer) in maps.items():
                kind, _, layer = name.partition("/")
                found[kind, int(layer)] = AttentionMap(problem, normalizer)
            return cls(maps=found, **from_data(extra))
        except (KeyError, ValueError, TypeError) as error:
            raise EyelineError(f"{path} is not a whole reading: {error!r}") from None

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 40 else f"{self.text[:40]}…"
        layers = ", ".join(f"{len(self.maps(k))} {k}" for k in self.kinds)
        return f"Reading({shown!r}, {len(self.tokens)} tokens, {self.model}: {layers} layers)"
