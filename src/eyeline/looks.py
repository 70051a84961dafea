"""What a token looks at, or who looks at it: one row or column of the weights, ranked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline._plain import plain
from eyeline.maps import AttentionMap
from eyeline.tokens import Token, name_of

__all__ = ["Edge", "Look", "Share", "make_look"]


class Edge(NamedTuple):
    """One weight: in this layer and head, the query looks at this key so much."""

    layer: int
    head: int
    key: Token
    weight: float


class Share(NamedTuple):
    """What one key gets: on average over the chosen heads, and in the head that looks hardest."""

    key: Token
    mean: float
    strongest: Edge


@dataclass(frozen=True, eq=False)
class Look:
    """What one token looks at.

    Attributes:
        query: The token.
        kind: "encoder", "decoder" or "cross".
        layers: The layers that were looked at.
        heads: The heads.
        keys: Every token at the other end: the keys, or with direction "by" the queries.
        weights: `[layers, heads, kv_len]`; renormalised if the sink is hidden.
        hidden: With the sink hidden: the mass it had, averaged over the heads; else None.
        direction: "at": what the token looks at. "by": who looks at it, a column of the weights.
    """

    query: Token
    kind: str
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    keys: Sequence[Token]
    weights: Float[Tensor, "layers heads kv_len"]
    hidden: float | None = None
    direction: Literal["at", "by"] = "at"

    @property
    def mean(self) -> Float[Tensor, " kv_len"]:
        """The weights averaged over the chosen layers and heads."""
        return self.weights.mean((0, 1))

    @property
    def is_one_head(self) -> bool:
        """Whether this is about a single head."""
        return len(self.layers) == len(self.heads) == 1

    def shares(self) -> list[Share]:
        """Every key with its average and its strongest head, largest average first."""
        flat = self.weights.flatten(0, 1)
        best, where = flat.max(0)
        mean = self.mean
        order = torch.sort(mean, descending=True, stable=True).indices.tolist()
        shares = []
        for j in order:
            layer, head = divmod(int(where[j]), len(self.heads))
            edge = Edge(self.layers[layer], self.heads[head], self.keys[j], float(best[j]))
            shares.append(Share(self.keys[j], float(mean[j]), edge))
        return shares

    def edges(self, count: int = 10, *, everything: bool = False) -> list[Edge]:
        """The largest single weights over all chosen layers and heads.

        Args:
            count: How many.
            everything: Count special tokens and the token itself as well: they often hold most of
                the mass and say little about the text.
        """
        weights = self.weights.clone()
        if not everything:
            for key in self.keys:
                itself = self.kind != "cross" and key.index == self.query.index
                if key.special or itself:
                    weights[..., key.index] = -1
        flat = weights.flatten().nan_to_num(-1)
        order = torch.sort(flat, descending=True, stable=True).indices[:count].tolist()
        edges = []
        for n in order:
            layer, rest = divmod(n, len(self.heads) * len(self.keys))
            head, key = divmod(rest, len(self.keys))
            if float(flat[n]) > 0:
                edges.append(
                    Edge(self.layers[layer], self.heads[head], self.keys[key], float(flat[n]))
                )
        return edges

    def sentence(self, cover: float = 0.9) -> str:
        """The same in words: who is looked at, how much, and how many tokens cover 90 %."""
        mean, label = self.mean, self.query.label
        if bool(mean.isnan().any()):
            return f"'{label}': this row is NaN, it saw a number that is not finite"
        total = float(mean.sum())
        if total == 0:
            if self.direction == "by":
                return f"{label} is looked at by no token."
            what = "but the hidden first token" if self.hidden else "at all"
            return f"{label} looks at nothing {what}."
        order = torch.sort(mean, descending=True, stable=True)
        named = []
        for j, weight in zip(order.indices[:3].tolist(), order.values[:3].tolist(), strict=True):
            if weight < 0.005 and named:
                break
            key = self.keys[j]
            itself = self.kind != "cross" and key.index == self.query.index
            name = "itself" if itself else name_of(self.keys, key)
            named.append(f"{name} {100 * weight:.0f} %")
        where = "" if self.is_one_head else " on average"
        if self.direction == "by":
            given = f"together they give it {total:.2g} of their {len(mean)}"
            return f"{label} is looked at{where} by {', '.join(named)}; {given}."
        text = f"{label} looks{where} at {', '.join(named)}"
        if total < cover:
            return f"{text}; all tokens together hold {100 * total:.0f} %."
        covered = int((order.values.cumsum(0) < cover - 1e-6).sum()) + 1
        tokens = "1 token covers" if covered == 1 else f"{covered} tokens cover"
        return f"{text}; {tokens} {100 * cover:.0f} %."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that is not finite is null."""
        return {
            "query": {"index": self.query.index, "label": self.query.label},
            "kind": self.kind,
            "direction": self.direction,
            "layers": list(self.layers),
            "heads": list(self.heads),
            "sentence": self.sentence(),
            "hidden_sink": plain(self.hidden),
            "shares": [{"mean": plain(s.mean), **_edge(s.strongest)} for s in self.shares()],
            "edges": [_edge(e) for e in self.edges(20)],
            "weights": plain(self.weights),
        }


def make_look(
    maps: Mapping[int, AttentionMap],
    *,
    kind: str,
    query: Token,
    keys: Sequence[Token],
    layer: int | None = None,
    head: int | None = None,
    hide_sink: bool = False,
    direction: Literal["at", "by"] = "at",
) -> Look:
    """Take one query's rows, or one key's columns, out of the maps of one kind.

    Args:
        maps: Layer → map of one text.
        kind: "encoder", "decoder" or "cross".
        query: The token that looks.
        keys: The tokens it may look at.
        layer: Only this layer.
        head: Only this head.
        hide_sink: Leave the first key out and renormalise the rest; `hidden` says its mass.
        direction: "by" takes the columns: `query` is the key, and `keys` are those who look.

    Raises:
        EyelineError: The layer or head does not exist or was not kept.
    """
    layers = tuple(maps) if layer is None else (check_layer(maps, layer, kind),)
    num_heads = maps[layers[0]].shape[1]
    heads = tuple(range(num_heads)) if head is None else (check_head(num_heads, head),)
    first, last = heads[0], heads[-1] + 1
    own = query.index
    index = (own, slice(None)) if direction == "at" else (slice(None), own)
    weights = torch.stack([maps[n][(0, slice(first, last), *index)] for n in layers]).double()
    hidden = None
    if hide_sink and direction == "by":
        sink = torch.stack([maps[n][0, first:last, :, 0] for n in layers]).double()
        hidden = float(sink.mean())
        rest = (1 - sink).clamp(min=0)
        weights = weights * (own != 0) / rest.where(rest > 0, 1)
    elif hide_sink:
        hidden = float(weights[..., 0].mean())
        weights[..., 0] = 0
        total = weights.sum(-1, keepdim=True)
        weights = weights / total.where(total > 0, 1)
    return Look(query, kind, layers, heads, keys, weights, hidden, direction)


def check_layer(maps: Mapping[int, AttentionMap], layer: int, kind: str) -> int:
    """The layer, if there is a map of it.

    Raises:
        EyelineError: It does not exist or was not kept; the message gives the range.
    """
    if layer in maps:
        return layer
    have = list(maps)
    if have == list(range(len(have))):
        known = f"they are 0 to {len(have) - 1}" if len(have) > 1 else "there is only layer 0"
    else:
        kept = f"layer {have[0]}" if len(have) == 1 else f"layers {', '.join(map(str, have))}"
        known = f"it kept only {kept}; read(…, layers=…) chooses"
    raise EyelineError(f"there is no {kind} layer {layer} in this reading: {known}")


def check_head(num_heads: int, head: int) -> int:
    """The head, if it exists.

    Raises:
        EyelineError: It does not; the message gives the range.
    """
    if 0 <= head < num_heads:
        return head
    known = f"heads are 0 to {num_heads - 1}" if num_heads > 1 else "there is only head 0"
    raise EyelineError(f"there is no head {head}: {known}")


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "key": edge.key.index,
        "label": edge.key.label,
        "layer": edge.layer,
        "head": edge.head,
        "weight": plain(edge.weight),
    }
