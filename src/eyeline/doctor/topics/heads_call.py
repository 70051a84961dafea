"""Calling multi-head attention: a module's twin or a function, in one layout, one form of mask."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._arrays import to_library
from eyeline.doctor._convention import pick
from eyeline.doctor._layouts import shape_mask
from eyeline.doctor._signature import Signature
from eyeline.doctor.options import Options
from eyeline.doctor.topics.modules import Twins

__all__ = ["SEQUENCES", "WEIGHTS", "HeadsCall", "has_flag", "native_rows"]

SEQUENCES = {
    "BLE": "[batch, length, width]",
    "LBE": "[length, batch, width]",
    "LE": "[length, width]",
}
WEIGHTS = ("w_query", "w_key", "w_value", "w_output")


def has_flag(signature: Signature) -> bool:
    """Whether causality is an argument; in torch's own module it is a hint about the mask."""
    return "is_causal" in signature and "average_attn_weights" not in signature.names


class HeadsCall:
    """One way to call a module or function."""

    def __init__(
        self,
        call: Callable[..., Any],
        twins: Twins | None,
        options: Options,
        *,
        signature: Signature,
        library: str,
        sequence: str,
        axes: str,
        form: str | None,
        supplied: set[str],
    ) -> None:
        self.candidate, self.twins, self.options = call, twins, options
        self.signature, self.arrays = signature, library
        self.sequence, self.axes, self.form, self.supplied = sequence, axes, form, supplied

    def call(self, s: Mapping[str, Any]) -> Any:
        """What the candidate returns."""
        given = self._sides(s)
        if "is_causal" in self.signature and has_flag(self.signature):
            if s["is_causal"] or "is_causal" in self.signature.required:
                given["is_causal"] = s["is_causal"]
        self._give_mask(s, given)
        for role in self.supplied & set(self.signature.parameters):
            if role in WEIGHTS:
                given[role] = to_library(s[role], self.arrays)
            elif role in self.signature.required:
                given[role] = s[role]
        places, named = self.signature.arguments(given)
        return self._target(s)(*places, **named)

    def read(self, returned: Any, s: Mapping[str, Any]) -> Tensor:
        """The answer in it, [batch, queries, width]."""
        output, _ = pick(returned, [self._axes(s)], _lengths(s))
        if self.sequence == "LE":
            return output[None]
        return output.transpose(0, 1) if self.sequence == "LBE" else output

    def _target(self, s: Mapping[str, Any]) -> Callable[..., Any]:
        if self.twins is None:
            return self.candidate
        twin = self.twins.of(s["x"].dtype)
        return twin if self.options.adapter is None else partial(self.options.adapter, twin)

    def _sides(self, s: Mapping[str, Any]) -> dict[str, Any]:
        turn = partial(_turn, sequence=self.sequence, library=self.arrays)
        if "query" in self.signature:
            sources = {"query": s["x"], "key": s["keys_from"], "value": s["values_from"]}
            return {side: turn(source) for side, source in sources.items()}
        given = {"x": turn(s["x"])}
        if "memory" in self.signature and (s["cross"] or "memory" in self.signature.required):
            given["memory"] = turn(s["keys_from"])
        return given

    def _give_mask(self, s: Mapping[str, Any], given: dict[str, Any]) -> None:
        role = s["role"] or ("mask" if "mask" in self.signature else "padding")
        mask = s["mask"]
        if self.form is None:
            return
        if mask is None and role in self.signature.required:
            mask = torch.ones(s["batch"], 1, s["q_len"], s["kv_len"], dtype=torch.bool)
        if mask is None:
            return
        axes, form = self.axes, self.form
        if role == "padding" and "mask" in self.signature:
            axes, form = "BS", "ignore"
        shaped = shape_mask(mask, form, axes, s["x"].dtype)
        given[role] = to_library(shaped, self.arrays)

    def _axes(self, s: Mapping[str, Any]) -> list[tuple[str, int]]:
        last = s["w_value"].shape[0] if s["w_output"] is None else s["w_output"].shape[0]
        if s["num_kv_heads"] != s["num_heads"] and s["w_output"] is None:
            last = s["num_heads"] * s["head_dim"]
        axes = {"B": ("batch", s["batch"]), "L": ("queries", s["q_len"]), "E": ("width", last)}
        return [axes[letter] for letter in self.sequence]


def _turn(x: Tensor, sequence: str, library: str) -> Any:
    if sequence == "LBE":
        x = x.transpose(0, 1).contiguous()
    elif sequence == "LE":
        x = x[0]
    return x if x.requires_grad else to_library(x, library)


def _lengths(s: Mapping[str, Any]) -> dict[str, int]:
    return {
        "batch items": s["batch"],
        "queries": s["q_len"],
        "keys": s["kv_len"],
        "heads": s["num_heads"],
        "numbers in a head": s["head_dim"],
    }


def native_rows(sequence: str, output: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """An output as the caller sees it, with the names of its axes."""
    if sequence == "LBE":
        return output.transpose(0, 1), ("queries", "batch", "width")
    if sequence == "LE":
        return output[0], ("queries", "width")
    return output, ("batch", "queries", "width")
