"""The arithmetic of one query in one head: every stage with its formula and its numbers.

The stages are computed here, in float64, from the model's own inputs and weights; `Steps.verify`
says how far each is from what the model really computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline._plain import plain
from eyeline._stages import Arithmetic, Builder, Stage, Vectors, combine, project, weigh
from eyeline._stages.explaining import Cell, explain
from eyeline.capture.projections import Projections, Seen
from eyeline.maps import AttentionMap
from eyeline.tokens import Token

__all__ = ["Cell", "Stage", "Steps", "Verification", "make_steps"]

_TOLERANCES = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 6e-2,
}
"""About a hundred roundings of a model that computes in float32, eight of one in half precision."""


@dataclass(frozen=True)
class Verification:
    """How far the steps are from the model.

    Attributes:
        max_delta: The largest absolute difference of any stage.
        by_stage: The same, stage by stage.
        taken_from_model: Stages whose numbers are the model's, because what it does there is not
            known to eyeline; the later ones are computed from them.
        relative_by_stage: max |Δ| ÷ max |y| of each stage, y being the model's numbers there.
        tolerance: Relative difference that the model's own rounding explains.
    """

    max_delta: float
    by_stage: dict[str, float]
    taken_from_model: tuple[str, ...] = ()
    relative_by_stage: dict[str, float] = field(default_factory=dict)
    tolerance: float = 1e-5

    @property
    def max_relative(self) -> float:
        """The largest relative difference of any stage."""
        return max(self.relative_by_stage.values(), default=0.0)

    @property
    def beyond_rounding(self) -> tuple[str, ...]:
        """The stages that differ by more than the model's rounding explains."""
        return tuple(n for n, d in self.relative_by_stage.items() if not d <= self.tolerance)

    @property
    def ok(self) -> bool:
        """Whether the steps are the model's arithmetic, but for rounding."""
        return not self.beyond_rounding

    def __str__(self) -> str:
        found = f"max |Δ| vs the model {self.max_delta:.1e}, relative {self.max_relative:.1e}"
        if self.ok:
            return f"{found}: rounding"
        return f"{found}: MORE THAN ROUNDING in {', '.join(self.beyond_rounding)}"


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
    tolerance: float = 1e-5
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def explain(self, name: str, key: int | None = None, feature: int | None = None) -> Cell:
        """How one number of a stage was made: formula with numbers, inputs, Python.

        Args:
            name: The stage.
            key: Index of the key, for stages with numbers per key.
            feature: Index of the feature, for stages with vectors.

        Raises:
            KeyError: There is no such stage.
            IndexError: The stage has no such number.
        """
        return explain(self.stages, self.arithmetic, self[name], key, feature)

    def __getitem__(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r}; there are {', '.join(s.name for s in self.stages)}")

    def verify(self) -> Verification:
        """Compare every stage with what the model computed."""
        by_stage = {s.name: s.delta for s in self.stages if s.delta is not None}
        relative = {s.name: s.relative_delta for s in self.stages if s.relative_delta is not None}
        taken = tuple(s.name for s in self.stages if s.name.endswith("_adjusted"))
        largest = max(by_stage.values(), default=0.0)
        return Verification(largest, by_stage, taken, relative, self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that is not finite is null (a masked score, or NaN).

        `max_delta` is absolute, `max_relative_delta` is divided by the stage's largest number, and
        `equal_but_for_rounding` says whether the latter is within `tolerance`.
        """
        check = self.verify()
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
                    "max_relative_delta": plain(s.relative_delta),
                }
                for s in self.stages
            ],
            "notes": list(self.notes),
            "max_delta": plain(check.max_delta),
            "max_relative_delta": plain(check.max_relative),
            "tolerance": check.tolerance,
            "equal_but_for_rounding": check.ok,
            "taken_from_model": list(check.taken_from_model),
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
    return Steps(
        *(kind, layer, head, query, keys),
        stages=tuple(build.stages),
        notes=tuple(build.notes),
        tolerance=_TOLERANCES[problem.query.dtype],
        arithmetic=build.arithmetic,
    )
