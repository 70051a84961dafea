"""Modules as candidates: built from a class, copied, with weights on which mistakes show."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eyeline._errors import EyelineError, one_line
from eyeline.doctor._cases import normal
from eyeline.doctor._signature import role_of

__all__ = ["BUILD", "Twins", "build", "find_number"]

BUILD = {
    "embed_dim": 12,
    "num_heads": 3,
    "num_kv_heads": 3,
    "head_dim": 4,
    "length": 160,
    "q_len": 160,
    "kv_len": 160,
    "dropout": 0.0,
}
"""What a class is built with: heads are neither as many as they are wide, nor as tokens."""

_SHORT = {"h": "num_heads", "H": "num_heads", "nh": "num_heads", "dim": "embed_dim"}
"""Names that mean something else in a function."""

_DROPOUTS = ("dropout", "dropout_p", "p", "attn_dropout", "dropout_rate", "drop")


def build(candidate: type) -> nn.Module:
    """An instance of a class of modules, of sizes that show every mistake.

    Raises:
        EyelineError: An argument of its constructor means nothing to us, or it raises.
    """
    given: dict[str, Any] = {}
    strange = []
    for name, parameter in inspect.signature(candidate).parameters.items():
        role = "dropout" if name.lower() in _DROPOUTS else _SHORT.get(name) or role_of(name)
        if role in BUILD and (parameter.default is parameter.empty or role == "dropout"):
            given[name] = BUILD[role]
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        ):
            strange.append(name)
    name = candidate.__name__
    if strange:
        raise EyelineError(
            f"{name} is a class and I do not know what to give for {', '.join(strange)}: "
            f"check an instance, for example check({name}(…))"
        )
    try:
        made = candidate(**given)
    except Exception as error:
        arguments = ", ".join(f"{n}={v}" for n, v in given.items())
        raise EyelineError(
            f"{name}({arguments}) stopped with {type(error).__name__}: {one_line(error)}; "
            f"check an instance, for example check({name}(…))"
        ) from None
    if not isinstance(made, nn.Module):
        raise EyelineError(f"{name} is a class, not a module: give an instance or a function")
    return made


class Twins:
    """Copies of a module in float64 and float32, in evaluation, with weights drawn anew.

    Fresh modules have biases of 0 and weights so small that softmax is nearly even: there half of
    all mistakes would not show. The module itself is never touched.
    """

    def __init__(self, module: nn.Module, *, redraw: bool = True) -> None:
        self.module = module
        try:
            twin = copy.deepcopy(module).cpu()
        except (RuntimeError, TypeError) as error:
            raise EyelineError(
                f"{type(module).__name__} cannot be copied ({one_line(error)}); keep tensors that "
                "are computed out of its attributes (or detach them)"
            ) from None
        twin.eval()
        self.double = twin.double()
        if redraw:
            _redraw(self.double)
        self.single = copy.deepcopy(self.double).float()

    def of(self, dtype: torch.dtype) -> nn.Module:
        """The copy in that dtype."""
        return self.double if dtype is torch.float64 else self.single


def _redraw(module: nn.Module) -> None:
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(module.named_parameters()):
            if parameter.dim() >= 2:
                fan_in = parameter.shape[-1] if parameter.dim() == 2 else parameter.shape[-2]
                drawn = normal(*parameter.shape, seed=100 + seed, deviation=1.2 / fan_in**0.5)
            elif name.endswith("bias"):
                drawn = normal(*parameter.shape, seed=100 + seed, deviation=0.5)
            else:
                drawn = 1 + normal(*parameter.shape, seed=100 + seed, deviation=0.3)
            parameter.copy_(drawn)


def find_number(module: nn.Module, role: str) -> int | None:
    """A size that a module keeps as an attribute (or in its config), by what it means."""
    for holder in (module, getattr(module, "config", None)):
        for name, value in (vars(holder) if holder is not None else {}).items():
            if _SHORT.get(name) == role and type(value) is int:
                return value
            if role_of(name) == role and type(value) is int:
                return value
            if role_of(name) == role and isinstance(value, Tensor) and value.numel() == 1:
                return int(value)
    return None


def described(candidate: Callable[..., Any]) -> str:
    """A candidate's name."""
    if isinstance(candidate, nn.Module):
        return type(candidate).__name__
    return getattr(candidate, "__name__", None) or type(candidate).__name__
