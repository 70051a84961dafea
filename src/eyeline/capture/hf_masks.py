"""Hugging Face's mask functions as symbolic masks: what `AttentionMaskInterface` calls.

transformers describes a mask by functions of four indices, `f(batch, head, query, key) -> bool`,
made by factories such as `sliding_window_overlay(w)` and joined by `and_masks` and `or_masks`. What
a factory was given stands in the closure of the function it made, so the rule can be read back and
no `q_len × kv_len` tensor has to be made from it. A function that is not recognised is evaluated
tile by tile (`masks.predicate`): slower, never skipped.

Indices are positions in the text: row + q_offset and column + kv_offset.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from eyeline import masks
from eyeline.masks import Mask

__all__ = ["Frame", "MaskFunction", "translate"]

MaskFunction = Callable[..., Any]


@dataclass(frozen=True)
class Frame:
    """Which part of the text the rows and columns of a mask stand for."""

    q_len: int
    kv_len: int
    q_offset: int = 0
    kv_offset: int = 0
    device: torch.device | str = "cpu"
    use_vmap: bool = False

    @property
    def offset(self) -> int:
        """Position of row 0 among the columns, as `masks.causal(offset=)` wants it."""
        return self.q_offset - self.kv_offset

    @property
    def rows(self) -> Int[Tensor, " q_len"]:
        """Position of each query."""
        return torch.arange(self.q_len, device=self.device) + self.q_offset

    @property
    def cols(self) -> Int[Tensor, " kv_len"]:
        """Position of each key."""
        return torch.arange(self.kv_len, device=self.device) + self.kv_offset


def translate(
    function: MaskFunction, frame: Frame, keep: Bool[Tensor, "batch positions"] | None = None
) -> Mask | None:
    """The rule behind a mask function of transformers.

    Args:
        function: What `mask_function=` is in transformers' mask interface.
        frame: Which rows and columns it is for.
        keep: The 2-D mask of real tokens, joined with the rule.

    Returns:
        The rule; None where everybody may attend to everybody.
    """
    known = _RULES.get(_name(function))
    rule = _tile_by_tile(function, frame) if known is None else known(function, frame)
    return _both(rule, _padding(keep, frame))


def _name(function: MaskFunction) -> str:
    if getattr(function, "__module__", "") != "transformers.masking_utils":
        return ""
    return function.__qualname__.removesuffix(".<locals>.inner_mask")


def _given(function: MaskFunction) -> dict[str, Any]:
    """What the factory of this function was given."""
    return dict(inspect.getclosurevars(function).nonlocals)


def _tile_by_tile(function: MaskFunction, frame: Frame) -> Mask:
    def mask_mod(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        # transformers asks about head 0 only: its masks are [batch, 1, q_len, kv_len]
        indices = b, h[:, :1] * 0, q + frame.q_offset, k + frame.kv_offset
        if not frame.use_vmap:
            return function(*indices).bool()
        from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
        from transformers import masking_utils

        # custom functions may index with single numbers, hence vmap, exactly as `sdpa_mask` does
        with TransformGetItemToIndex():
            expand = masking_utils._vmap_expansion_sdpa(function)
            return expand(*(i.reshape(-1) for i in indices)).bool()

    mask_mod.__name__ = _name(function) or getattr(function, "__qualname__", "mask_function")
    return masks.predicate(mask_mod)


def _causal(function: MaskFunction, frame: Frame) -> Mask:
    return masks.causal(frame.offset)


def _everybody(function: MaskFunction, frame: Frame) -> None:
    return None


def _window(function: MaskFunction, frame: Frame) -> Mask:
    size = int(_given(function)["sliding_window"])  # the last `size` keys, and all later ones
    if size < 1:
        return _tile_by_tile(function, frame)
    return masks.sliding_window((size - 1, -1), frame.offset)


def _window_both_sides(function: MaskFunction, frame: Frame) -> Mask:
    size = int(_given(function)["sliding_window"])
    if size < 0:
        return _tile_by_tile(function, frame)
    return masks.sliding_window((size, size), frame.offset)


def _chunks(function: MaskFunction, frame: Frame) -> Mask:
    given = _given(function)
    size, begin = given["chunk_size"], torch.as_tensor(given["left_padding"]).reshape(-1, 1)
    begin = begin.to(frame.device)
    return masks.documents((frame.rows - begin) // size, (frame.cols - begin) // size)


def _blocks(function: MaskFunction, frame: Frame) -> Mask:
    sides = _sides(_given(function)["block_sequence_ids"], frame)
    if sides is None:
        return _tile_by_tile(function, frame)
    return masks.documents(*sides) & masks.keys(sides[1] >= 0)  # -1 is no block


def _keys(function: MaskFunction, frame: Frame) -> Mask | None:
    return _padding(_given(function)["padding_mask"], frame)


def _packed(function: MaskFunction, frame: Frame) -> Mask:
    sides = _sides(_given(function)["packed_sequence_mask"], frame)
    return _tile_by_tile(function, frame) if sides is None else masks.documents(*sides)


def _shifted(function: MaskFunction, frame: Frame) -> Mask | None:
    given = _given(function)
    moved = replace(
        frame,
        q_offset=frame.q_offset + int(given["q_offset"]),
        kv_offset=frame.kv_offset + int(given["kv_offset"]),
    )
    return translate(given["mask_function"], moved)


def _all_of(function: MaskFunction, frame: Frame) -> Mask | None:
    parts = inspect.getclosurevars(function).nonlocals["mask_functions"]
    packed = [p for p in parts if _name(p) == "packed_sequence_mask_function"]
    joined: Mask | None = None
    for part in parts:
        if packed and _name(part) == "remap_positions_for_packed_sequence":
            joined = _both(joined, _within_documents(part, packed[0], frame))
        else:
            joined = _both(joined, translate(part, frame))
    return joined


def _any_of(function: MaskFunction, frame: Frame) -> Mask | None:
    joined: Mask | None = None
    for part in inspect.getclosurevars(function).nonlocals["mask_functions"]:
        rule = translate(part, frame)
        if rule is None:
            return None
        joined = rule if joined is None else joined | rule
    return joined


def _within_documents(remapped: MaskFunction, packed: MaskFunction, frame: Frame) -> Mask | None:
    """A rule about positions that begin anew in each document, joined with those documents.

    Where positions count up by 1 inside a document, distances between them are distances between
    indices, and a rule about distances (causal, window) may look at the indices instead.
    """
    given = _given(remapped)
    positions, ids = given["position_ids"], _given(packed)["packed_sequence_mask"]
    same = ids.diff(dim=-1) == 0
    counts_up = bool(((positions.diff(dim=-1) == 1) | ~same).all())
    apart = bool((ids.diff(dim=-1) >= 0).all())  # no document begins a second time
    if counts_up and apart and _about_distances(given["mask_function"]):
        return translate(given["mask_function"], frame)
    return _tile_by_tile(remapped, frame)


def _about_distances(function: MaskFunction) -> bool:
    name = _name(function)
    if name in ("and_masks.<locals>.and_mask", "or_masks.<locals>.or_mask"):
        parts = inspect.getclosurevars(function).nonlocals["mask_functions"]
        return all(_about_distances(part) for part in parts)
    return _RULES.get(name) in (_causal, _everybody, _window, _window_both_sides)


def _padding(keep: Tensor | None, frame: Frame) -> Mask | None:
    """`[batch, positions]`, True = a real token; positions beyond its end are padding."""
    if keep is None:
        return None
    keep = keep.bool()
    missing = frame.kv_offset + frame.kv_len - keep.shape[-1]
    if missing > 0:
        keep = torch.nn.functional.pad(keep, (0, missing))
    keep = keep[:, frame.kv_offset : frame.kv_offset + frame.kv_len]
    return None if bool(keep.all()) else masks.keys(keep)


def _sides(ids: Tensor, frame: Frame) -> tuple[Tensor, Tensor] | None:
    """The number of each query and of each key; None if there are not enough numbers."""
    if max(frame.q_offset + frame.q_len, frame.kv_offset + frame.kv_len) > ids.shape[1]:
        return None
    rows = ids[:, frame.q_offset : frame.q_offset + frame.q_len]
    return rows, ids[:, frame.kv_offset : frame.kv_offset + frame.kv_len]


def _both(left: Mask | None, right: Mask | None) -> Mask | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right


_RULES: dict[str, Callable[[MaskFunction, Frame], Mask | None]] = {
    "causal_mask_function": _causal,
    "bidirectional_mask_function": _everybody,
    "sliding_window_overlay": _window,
    "sliding_window_bidirectional_overlay": _window_both_sides,
    "chunked_overlay": _chunks,
    "blockwise_overlay": _blocks,
    "padding_mask_function": _keys,
    "packed_sequence_mask_function": _packed,
    "add_offsets_to_mask_function": _shifted,
    "and_masks.<locals>.and_mask": _all_of,
    "or_masks.<locals>.or_mask": _any_of,
}
