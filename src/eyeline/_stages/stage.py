"""A stage, the builder that collects stages, and how numbers are put into formulas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eyeline.capture.projections import Linear
from eyeline.maps import AttentionMap
from eyeline.tokens import Token


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of the arithmetic.

    Attributes:
        name: Short, stable: "query", "scores", ….
        title: What happens, in a few words.
        formula: In general.
        example: The same with the numbers put in.
        values: The result: one vector, one number per key, or one vector per key.
        per: What `values` run over: "feature", "key" or "key, feature".
        model: What the model had here, where it can be observed.
    """

    name: str
    title: str
    formula: str
    example: str
    values: Tensor
    per: str
    model: Tensor | None = None

    @property
    def delta(self) -> float | None:
        """Largest absolute difference from the model; None where the model does not show it.

        NaN where the model has NaN is no difference; NaN on one side only is an infinite one.
        """
        if self.model is None:
            return None
        model = self.model.to(self.values)
        difference = (self.values - model).abs().nan_to_num(nan=torch.inf)
        same = (self.values == model) | (self.values.isnan() & model.isnan())
        return float(difference.masked_fill(same, 0).max()) if difference.numel() else 0.0

    @property
    def relative_delta(self) -> float | None:
        """`delta` as a share of the largest finite number that the model has in this stage.

        A model computes in float32 or less: where its numbers are large, so is its rounding. Where
        all of them are 0, any difference is an infinite one.
        """
        if self.model is None or self.delta is None:
            return None
        finite = self.model.abs().nan_to_num(nan=0.0, posinf=0.0)
        largest = float(finite.max()) if finite.numel() else 0.0
        if self.delta == 0:
            return 0.0
        return self.delta / largest if largest > 0 else math.inf


@dataclass(eq=False)
class Arithmetic:
    """What the stages were computed with, so that any one number can be computed again.

    Attributes:
        linear: "query", "key", "value", "output" → the projection; the first three of this head.
        sources: The vectors that keys and values are made of, `[kv_len, embed_dim]`.
        rotation: cos and sin of every position, `[length, rotated]`, and whether pairs are
            neighbours (else halves); None without rotary positions.
        scale: What the scores are multiplied by.
        softcap: Beyond which no score goes, or None.
        sink: This head's sink, or None.
        position: The query's row.
    """

    linear: dict[str, Linear] = field(default_factory=dict)
    sources: Tensor | None = None
    rotation: tuple[Tensor, Tensor, bool] | None = None
    scale: float = 1.0
    softcap: float | None = None
    sink: float | None = None
    position: int = 0


@dataclass(eq=False)
class Builder:
    """Collects stages for one query; `top` is the key that the examples are about."""

    map: AttentionMap
    head: int
    row: int
    keys: Sequence[Token]
    stages: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def __post_init__(self) -> None:
        problem = self.map.problem
        self.arithmetic.position = self.row
        self.arithmetic.scale, self.arithmetic.softcap = problem.scale, problem.softcap
        if problem.sinks is not None:
            self.arithmetic.sink = float(problem.sinks[self.head])
        self.kv_head = self.head // self.map.problem.group
        self.weights = self.map[0, self.head, self.row].double()
        self.top = int(self.weights.nan_to_num().argmax()) if len(self.keys) else 0

    @property
    def top_label(self) -> str:
        return self.keys[self.top].label

    def add(
        self,
        name: str,
        title: str,
        formula: str,
        example: str,
        values: Tensor,
        per: str,
        model: Tensor | None = None,
    ) -> Tensor:
        model = None if model is None else model.double()
        self.stages.append(Stage(name, title, formula, example, values, per, model))
        return values

    def settle(self, name: str, own: Tensor, model: Tensor) -> Tensor:
        """Go on with our numbers if they are the model's, else take the model's and say so."""
        if close(own, model):
            return own
        self.notes.append(
            f"this model changes its {name} in a way that eyeline does not know: "
            "from here on the numbers are the model's"
        )
        per = "feature" if model.dim() == 1 else "key, feature"
        title, formula = f"{name} as the model used it", "taken from the model"
        return self.add(f"{name}_adjusted", title, formula, "", model.double(), per)


def close(own: Tensor, model: Tensor) -> bool:
    """Whether these are the same but for rounding; a special value counts as equal to itself."""
    if own.shape != model.shape:
        return False
    scale = max(float(model.abs().nan_to_num(posinf=0).max()) if model.numel() else 0.0, 1.0)
    return torch.allclose(own, model.to(own), rtol=0, atol=1e-3 * scale, equal_nan=True)


def first(bias: Tensor | None) -> float | None:
    """A bias's first number."""
    return None if bias is None else float(bias[0])


def dot(name: str, a: Tensor, b: Tensor, result: Tensor, bias: float | None = None) -> str:
    """`name = a×b + … = result`, with the three products that weigh most, in order."""
    largest = sorted((a * b).abs().topk(min(3, len(a))).indices.tolist())
    terms = " + ".join(f"{paren(a[i])}×{paren(b[i])}" for i in largest)
    more = " + …" if len(a) > 3 else ""
    plus = "" if bias is None else f" + {paren(bias)}"
    return f"{name} = {terms}{more}{plus} = {float(result):.4g}"


def vector(name: str, values: Tensor) -> str:
    """`name = [its first six numbers, …]`."""
    more = ", …" if len(values) > 6 else ""
    return f"{name} = [{', '.join(f'{x:.3g}' for x in values[:6])}{more}]"


def paren(number: Any, digits: int = 3) -> str:
    """A number, in parentheses if it is negative."""
    text = f"{float(number):.{digits}g}"
    return f"({text})" if text.startswith("-") else text
