"""The arithmetic of one query in one head: every stage with its formula and its numbers.

The stages are computed here, in float64, from the model's own inputs and weights; `Steps.verify`
says how far each is from what the model really computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from eyeline._plain import plain
from eyeline._stages import Builder, Stage, Vectors, combine, project, weigh
from eyeline.capture.projections import Projections, Seen
from eyeline.maps import AttentionMap
from eyeline.tokens import Token

__all__ = ["Stage", "Steps", "Verification", "make_steps"]


@dataclass(frozen=True)
class Verification:
    """How far the steps are from the model.

    Attributes:
        max_delta: The largest absolute difference of any stage.
        by_stage: The same, stage by stage.
        taken_from_model: Stages whose numbers are the model's, because what it does there is not
            known to eyeline; the later ones are computed from them.
    """

    max_delta: float
    by_stage: dict[str, float]
    taken_from_model: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"max |Δ| vs the model {self.max_delta:.1e}"


@dataclass(frozen=True, eq=False)
class Steps:
    """All stages of one query in one head of one layer."""

    kind: str
    layer: int
    head: int
    query: Token
    keys: Sequence[Token]
    stages: tuple[Stage, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r}; there are {', '.join(s.name for s in self.stages)}")

    def verify(self) -> Verification:
        """Compare every stage with what the model computed."""
        by_stage = {s.name: s.delta for s in self.stages if s.delta is not None}
        taken = tuple(s.name for s in self.stages if s.name.endswith("_adjusted"))
        return Verification(max(by_stage.values(), default=0.0), by_stage, taken)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that is not finite is null (a masked score, or NaN)."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "head": self.head,
            "query": {"index": self.query.index, "label": self.query.label},
            "keys": [{"index": k.index, "label": k.label} for k in self.keys],
            "stages": [
                {
                    "name": s.name,
                    "title": s.title,
                    "formula": s.formula,
                    "example": s.example,
                    "per": s.per,
                    "values": plain(s.values),
                    "max_delta": plain(s.delta),
                }
                for s in self.stages
            ],
            "notes": list(self.notes),
            "max_delta": plain(self.verify().max_delta),
            "taken_from_model": list(self.verify().taken_from_model),
        }


def make_steps(
    attention_map: AttentionMap,
    *,
    kind: str,
    layer: int,
    head: int,
    query: Token,
    keys: Sequence[Token],
    projections: Projections | None = None,
    seen: Seen | None = None,
    output: Float[Tensor, "batch num_heads q_len value_dim"] | None = None,
) -> Steps:
    """Compute the stages.

    Args:
        attention_map: The layer's map of one text.
        kind: "encoder", "decoder" or "cross".
        layer: Number of the layer.
        head: Number of the head.
        query: The token that looks.
        keys: The tokens that it may look at.
        projections: W_Q, W_K, W_V and W_O; without them the stages begin at q, k and v.
        seen: What went through the projections.
        output: The attention's output per head as the model used it.
    """
    build = Builder(attention_map, head, query.index, keys)
    problem = attention_map.problem
    vectors = Vectors(
        problem.query[0, head, query.index].double(),
        problem.key[0, build.kv_head].double(),
        problem.value[0, build.kv_head].double(),
    )
    if projections is not None and seen is not None and seen.query_input is not None:
        vectors = project(build, projections, seen, vectors)
    else:
        build.notes.append("the projections are not at hand: the steps begin at q, k and v")
        for name, values, per in (
            ("query", vectors.q, "feature"),
            ("key", vectors.k, "key, feature"),
            ("value", vectors.v, "key, feature"),
        ):
            build.add(name, f"{name} as the model made it", name[0], "", values, per)
    weights, live = weigh(build, vectors.q, vectors.k)
    combine(build, weights, live, vectors.v, projections, seen, output)
    return Steps(kind, layer, head, query, keys, tuple(build.stages), tuple(build.notes))
