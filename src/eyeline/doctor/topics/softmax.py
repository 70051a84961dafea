"""Softmax functions: of any rank, along the last axis or the one that is asked for."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._cases import Case, normal
from eyeline.doctor._convention import Axes, Hypothesis
from eyeline.doctor._signature import Signature
from eyeline.doctor.options import Options
from eyeline.doctor.topics.modules import Twins
from eyeline.doctor.topics.plain import Plain, Way

__all__ = ["SOFTMAX_TOPIC"]

_SHAPES = {"a vector": (7,), "a matrix": (3, 7), "three axes": (2, 3, 7)}


def _ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    every = [*_SHAPES.values()]
    return [
        Way({}, [Hypothesis({}, _cases(every, "dim" in signature))]),
        Way({"takes": "a vector"}, [Hypothesis({}, _cases(every[:1], False))], tier=1),
        Way(
            {"takes": "a matrix"}, [Hypothesis({}, _cases(every[1:2], "dim" in signature))], tier=1
        ),
    ]


def _cases(shapes: list[tuple[int, ...]], any_axis: bool) -> tuple[Case, ...]:
    names = {shape: name for name, shape in _SHAPES.items()}
    cases = []
    for seed, shape in enumerate(sorted(shapes, key=len, reverse=True)):
        x = normal(*shape, seed=70 + seed, deviation=1.5)
        cases.append(_case(names[shape], x, -1, any_axis))
        if any_axis and len(shape) > 1:
            cases.append(_case(f"{names[shape]}, first axis", x, 0, any_axis))
        far = normal(*shape, seed=80 + seed, deviation=400.0)
        if len(shape) > 1:  # rows far from each other, and from 0
            far = far + torch.arange(shape[-2], dtype=far.dtype)[:, None] * 4000 - 4000
        else:
            far = far + 3000
        cases.append(_case(f"{names[shape]} of large numbers", far, -1, any_axis))
        hidden = x.masked_fill(torch.arange(x.shape[-1]) % 3 == 0, -torch.inf)
        cases.append(_case(f"{names[shape]} with -inf", hidden, -1, any_axis))
    return tuple(cases)


def _case(name: str, x: Tensor, dim: int, any_axis: bool) -> Case:
    sizes = {"rank": x.dim(), "any_axis": 2 if any_axis else 0}
    return Case(name, {"x": x, "dim": dim, **sizes})


def _offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {"x": s["x"], "query": s["x"], "dim": s["dim"]}


def _axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    names = ["batch", "rows", "numbers"][-s["x"].dim() :]
    return [list(zip(names, s["x"].shape, strict=True))]


SOFTMAX_TOPIC = Plain(
    places=("x", "dim"),
    ways=_ways,
    offer=_offer,
    axes=_axes,
    names=("batch", "rows", "numbers"),
    always=frozenset({"dim"}),
)
