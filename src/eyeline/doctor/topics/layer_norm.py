"""Layer norms: modules with weight and bias, or functions that are given them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eyeline.doctor._cases import Case, normal
from eyeline.doctor._convention import Axes, Hypothesis
from eyeline.doctor._signature import Signature, role_of
from eyeline.doctor.options import Options
from eyeline.doctor.topics.modules import Twins
from eyeline.doctor.topics.plain import Plain, Way

__all__ = ["LAYER_NORM_TOPIC"]

STATES = {"arrays"}
WIDTH = 8


def _ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    width, weight, bias = WIDTH, torch.ones(WIDTH).double(), torch.zeros(WIDTH).double()
    eps = [1e-5, 1e-6, 1e-12, 1e-8]
    if twins is not None:
        found = _learned(twins.double)
        width = next((len(p) for p in found.values()), WIDTH)
        weight = found.get("weight", torch.ones(width).double())
        bias = found.get("bias", torch.zeros(width).double())
        stated = [v for n, v in vars(twins.module).items() if role_of(n) == "eps"]
        eps = [float(v) for v in stated if isinstance(v, int | float)] or eps
    elif "weight" in signature:
        weight = 1 + normal(WIDTH, seed=121, deviation=0.3)
        bias = normal(WIDTH, seed=122) if "bias" in signature else bias
    if "eps" in signature and twins is None:
        eps = [1e-3]  # it is given, so that it may be large enough to be seen everywhere
    hypotheses = [Hypothesis({"eps": f"{e:g}"}, _cases(width, weight, bias, e)) for e in eps]
    return [Way({}, hypotheses)]


def _learned(module: nn.Module) -> dict[str, Tensor]:
    """Weight and bias, whatever they are called."""
    found: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters(recurse=False):
        moves = name.lower().startswith("b") or "shift" in name or "offset" in name
        role = "bias" if moves else "weight"  # a_2 and b_2, gamma and beta, scale and shift, …
        if parameter.dim() == 1:
            found[role] = parameter.detach().double()
    return found


def _cases(width: int, weight: Tensor, bias: Tensor, eps: float) -> tuple[Case, ...]:
    plain = normal(2, 5, width, seed=120, deviation=2.0) + 1
    level = normal(2, 5, width, seed=123, deviation=2 * eps**0.5) + 3
    constant = torch.full((2, 5, width), 2.0, dtype=torch.float64)
    common = {"weight": weight, "bias": bias, "eps": eps}
    sizes = {"has_bias": 2 if bias.abs().sum() > 0 else 0, "width": width}
    return tuple(
        Case(name, {"x": x, **common, **sizes})
        for name, x in {
            "tokens": plain,
            "tokens that hardly vary": level,
            "constant tokens": constant,
        }.items()
    )


def _offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {role: s[role] for role in ("x", "weight", "bias", "eps")}


def _axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    return [list(zip(("batch", "tokens", "width"), s["x"].shape, strict=True))]


LAYER_NORM_TOPIC = Plain(
    places=("x", "weight", "bias", "eps"),
    ways=_ways,
    offer=_offer,
    axes=_axes,
    names=("batch", "tokens", "width"),
    always=frozenset({"weight", "bias", "eps"}),
)
