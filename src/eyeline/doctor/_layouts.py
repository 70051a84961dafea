"""Layouts of attention's inputs and outputs, and the forms in which a mask is given."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._convention import Axes

__all__ = [
    "LAYOUTS",
    "MASK_AXES",
    "MASK_FORMS",
    "from_output",
    "output_layouts",
    "shape_mask",
    "to_layout",
]

LAYOUTS = {
    "BHLD": "[batch, heads, length, width]",
    "BLHD": "[batch, length, heads, width]",
    "BLD": "[batch, length, width]",
    "LD": "[length, width]",
}
"""How query, key and value may lie; the last two have one head."""

MASK_FORMS = {
    "attend": "True = may attend",
    "ignore": "True = must not attend",
    "ones": "numbers, 1 = may attend",
    "add": "numbers that are added to the scores (0 or -inf)",
}

MASK_AXES = {
    "B1LS": "[batch, 1, queries, keys]",
    "BLS": "[batch, queries, keys]",
    "LS": "[queries, keys]",
    "BS": "[batch, keys]",
}


def to_layout(tensor: Tensor, layout: str) -> Tensor:
    """`[batch, heads, length, width]` in another layout."""
    if layout == "BLHD":
        return tensor.transpose(1, 2).contiguous()
    if layout == "BLD":
        return tensor[:, 0].contiguous()
    return tensor[0, 0].contiguous() if layout == "LD" else tensor


def shape_mask(mask: Tensor, form: str, axes: str, dtype: torch.dtype) -> Tensor:
    """A mask `[batch, 1, queries, keys]` (True = may attend) as a candidate wants it."""
    if axes == "BLS":
        mask = mask[:, 0]
    elif axes == "LS":
        mask = mask[0, 0]
    elif axes == "BS":
        mask = mask[:, 0].any(-2)
    if form == "ignore":
        return ~mask
    if form == "ones":
        return mask.to(dtype)
    if form == "add":
        return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, -torch.inf)
    return mask.clone()


def output_layouts(s: Mapping[str, Any], layout: str) -> list[Axes]:
    """Shapes that an output may have: first as the inputs lie, then others that are seen."""
    batch, heads = ("batch", s["batch"]), ("heads", s["num_heads"])
    queries, width = ("queries", s["q_len"]), ("width", s["value"].shape[-1])
    merged = ("heads × width", s["num_heads"] * width[1])
    shapes = {
        "BHLD": [batch, heads, queries, width],
        "BLHD": [batch, queries, heads, width],
        "BLE": [batch, queries, merged],
        "BLD": [batch, queries, width],
        "LD": [queries, width],
    }
    if layout in ("BLD", "LD"):
        return [shapes[layout]]
    return [shapes[layout]] + [shapes[n] for n in ("BHLD", "BLHD", "BLE") if n != layout]


def from_output(output: Tensor, axes: Axes, s: Mapping[str, Any]) -> Tensor:
    """An output of that layout as `[batch, heads, queries, width]`."""
    names = [name for name, _ in axes]
    if names == ["batch", "heads", "queries", "width"]:
        return output
    if "heads × width" in names:
        output = output.unflatten(-1, (s["num_heads"], -1))
    if output.dim() == 4:
        return output.transpose(1, 2)
    return output[:, None] if output.dim() == 3 else output[None, None]
