"""What a head or an edge does: take it out, run the model again, compare what it says.

Attention shows where a model looks, not what follows from it (Jain and Wallace 2019,
arXiv:1902.10186). Three numbers stand beside each other here: the weight; the length of what it
carries, ‖α v W_O‖ (Kobayashi et al. 2020, arXiv:2004.10102); and the effect, how far the prediction
moves when it is taken out.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eyeline._errors import EyelineError
from eyeline.capture.editing import Edge, edges_cut, heads_silenced
from eyeline.capture.pacing import Tick
from eyeline.capture.projections import Projections, find_projections
from eyeline.looks import check_head, check_layer
from eyeline.predictions import embedding_of

if TYPE_CHECKING:
    from eyeline.readings import Reading

__all__ = ["Ablate", "Change", "Cut", "Outcome", "intervene", "value_norms"]


@dataclass(frozen=True)
class Ablate:
    """A head is silenced: it gives 0 to W_O.

    Attributes:
        layer: Number of the layer.
        head: Number of the head.
        kind: "encoder", "decoder" or "cross"; None is the kind that reads the text.
    """

    layer: int
    head: int
    kind: str | None = None


@dataclass(frozen=True)
class Cut:
    """An edge is cut: one query may not look at one key; its other weights share the mass.

    Attributes:
        layer: Number of the layer.
        head: Number of the head.
        query: Index of the token that looks.
        key: Index of the token that it may not look at.
        kind: "encoder", "decoder" or "cross"; None is the kind that reads the text.
    """

    layer: int
    head: int
    query: int
    key: int
    kind: str | None = None


Change = Ablate | Cut


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the model says before and after.

    Attributes:
        kind: "next" token, "masked" token, or "embedding" of the text.
        position: The token at which it is said; None for an embedding.
        candidates: The likeliest tokens of both, with their probability before and after.
        divergence: Of "next" and "masked", KL(before ‖ after) in nats; of an embedding, 1 − cosine.
        moved: By how much the vector of each token turned, 1 − cosine; None where the model gives
            no vectors but tokens.
    """

    kind: str
    position: int | None
    candidates: tuple[tuple[str, float, float], ...]
    divergence: float
    moved: Float[Tensor, " length"] | None = None


def intervene(
    reading: "Reading", changes: Sequence[Change], *, count: int = 6, tick: Tick | None = None
) -> Outcome:
    """Run the model on the same text without some heads or edges, and compare.

    Args:
        reading: The reading; its model must be at hand.
        changes: What is taken out; all of it at once.
        count: How many candidates of either side.
        tick: Called as `(layers done, layers)`; it may raise to stop the model.

    Raises:
        EyelineError: The reading was loaded from a file, or a layer, head or token does not exist.
    """
    before = reading.origin.said(tick)
    with ExitStack() as stack:
        for context in _contexts(reading, changes):
            stack.enter_context(context)
        after = reading.origin.run(tick)
    return _compare(reading, before, after, count)


def value_norms(
    reading: "Reading", layer: int, head: int, query: int, kind: str | None = None
) -> Float[Tensor, " kv_len"]:
    """‖α v W_O‖ of every key: the length of what the query takes over from it in this head.

    Raises:
        EyelineError: There is no such layer or head, or it is not known where the model keeps W_O.
    """
    kind = kind or reading.default_kind
    module, parts, _ = _place(reading, kind, layer, head)
    del module
    one = reading.maps(kind)[layer]
    weights = one[0, head, query].double()
    problem = one.problem
    value = problem.value[0, head // problem.group].double()
    width = value.shape[-1]
    mixing = parts.output.weight[:, head * width : (head + 1) * width].double()
    carried = (value * weights[:, None]).masked_fill(weights[:, None] == 0, 0) @ mixing.T
    return carried.norm(dim=-1)


def _contexts(reading: "Reading", changes: Sequence[Change]) -> list[Any]:
    silenced: dict[tuple[str, int], set[int]] = {}
    cut: dict[tuple[nn.Module, int], list[Edge]] = {}
    for change in changes:
        kind = change.kind or reading.default_kind
        module, _, call = _place(reading, kind, change.layer, change.head)
        if isinstance(change, Ablate):
            silenced.setdefault((kind, change.layer), set()).add(change.head)
            continue
        q_len, kv_len = reading.maps(kind)[change.layer].shape[2:]
        if not (0 <= change.query < q_len and 0 <= change.key < kv_len):
            raise EyelineError(
                f"there is no edge from {change.query} to {change.key}: "
                f"queries are 0 to {q_len - 1}, keys 0 to {kv_len - 1}"
            )
        edge = Edge(change.head, change.query, change.key)
        cut.setdefault((module, call), []).append(edge)
    contexts: list[Any] = [edges_cut(cut)] if cut else []  # type: ignore[arg-type]
    for (kind, layer), heads in silenced.items():
        module, parts, call = _place(reading, kind, layer, min(heads))
        num_heads = reading.maps(kind)[layer].shape[1]
        contexts.append(heads_silenced(parts, module, sorted(heads), num_heads, call))
    return contexts


def _place(
    reading: "Reading", kind: str, layer: int, head: int
) -> tuple[nn.Module, Projections, int]:
    """The attention module of a layer, its projections, and which of its calls the layer is."""
    one = reading.maps(kind)[check_layer(reading.maps(kind), layer, kind)]
    network, name = reading.origin.loaded.network, reading.origin.names[kind, layer]
    check_head(one.shape[1], head)
    path, _, call = name.partition("@")
    parts = find_projections(network, name, one.shape[1], one.problem.key.shape[1])
    if parts is None:
        raise EyelineError(
            f"it is not known where {type(network.get_submodule(path)).__name__} keeps W_O: "
            "its heads cannot be taken out"
        )
    return network.get_submodule(path), parts, int(call or 0)


def _compare(reading: "Reading", before: Tensor, after: Tensor, count: int) -> Outcome:
    if reading.family == "encoder":
        old, new = before.double(), after.double()
        moved = 1 - torch.nn.functional.cosine_similarity(old, new, dim=-1)
        a, b = (torch.tensor(embedding_of(t).vector, dtype=torch.float64) for t in (old, new))
        return Outcome("embedding", None, (), _small(1 - float(a @ b)), moved.clamp(min=0))
    position = _position(reading)
    row = -1 if reading.family != "masked" else position
    old, new = (said[row].double().log_softmax(-1) for said in (before, after))
    ids = list(
        dict.fromkeys([*old.topk(count).indices.tolist(), *new.topk(count).indices.tolist()])
    )
    decode = reading.origin.loaded.tokenizer.decode
    candidates = tuple((decode([i]), math.exp(float(old[i])), math.exp(float(new[i]))) for i in ids)
    divergence = float((old.exp() * (old - new)).nan_to_num(0).sum())
    kind = "masked" if reading.family == "masked" else "next"
    return Outcome(kind, position, candidates, _small(divergence))


def _position(reading: "Reading") -> int:
    if reading.family != "masked":
        return len(reading.target_tokens or reading.tokens) - 1
    masked = [p.position for p in reading.predictions if p.position is not None]
    if not masked:
        raise EyelineError("this model fills masks, and the text has none: write [MASK] in it")
    return masked[0]


def _small(number: float) -> float:
    """Rounding can take a distance a little below 0."""
    return max(number, 0.0)
