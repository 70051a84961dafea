"""Symbolic masks: who may attend to whom, as a rule rather than a matrix.

True means *may attend*, as in `torch.nn.functional.scaled_dot_product_attention`. A mask can
evaluate any tile of itself and can say that a tile is empty or full without evaluating it, so that
nobody materialises `q_len × kv_len` booleans and an empty tile costs nothing.

    causal() & padding(lengths)        a padded batch of left-to-right models
    causal() | prefix(5)               prefix-LM: everybody sees the first five keys
    causal(offset=100)                 the query of row 0 stands at position 100 (a KV cache)
    causal() & sliding_window(256)     Mistral
    causal() & documents(ids)          several documents packed into one row

Causality is a matter of positions (`offset`), never of matrix corners: see `causal`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.compiler import is_compiling

from eyeline.masks.base import Mask
from eyeline.masks.rules import Band, Dense, Documents, Interval, Keys, Predicate

__all__ = [
    "Mask",
    "causal",
    "dense",
    "documents",
    "keys",
    "padding",
    "predicate",
    "prefix",
    "sliding_window",
]


def causal(offset: int = 0) -> Mask:
    """Query row i may attend to key j when `j <= i + offset`.

    Args:
        offset: Position of query row 0 among the keys. 0 is SDPA's `is_causal` (top-left aligned
            when `q_len != kv_len`); `kv_len - q_len` is what a KV cache needs (the last query sees
            every key).
    """
    return Band(left=None, right=0, offset=int(offset))


def sliding_window(window_size: int | tuple[int, int], offset: int = 0) -> Mask:
    """Each query attends to the keys near its own position.

    Args:
        window_size: An integer w: the w most recent keys, the query's own among them (Mistral's
            convention). A pair `(left, right)`: that many keys on either side besides its own;
            -1 is unlimited (FlashAttention's convention).
        offset: Position of query row 0 among the keys, as in `causal`.
    """
    if isinstance(window_size, int):
        if window_size < 1:
            raise ValueError(f"sliding_window needs at least 1 key, got window_size={window_size}")
        left, right = window_size - 1, 0
    else:
        left, right = window_size
        if min(left, right) < -1:
            raise ValueError(f"window_size is (left, right), each >= -1, got {window_size}")
    return Band(None if left == -1 else left, None if right == -1 else right, int(offset))


def prefix(length: int | Tensor) -> Mask:
    """Every query may attend to the first `length` keys: one number, or one per item `[batch]`."""
    lengths = torch.as_tensor(length).reshape(-1)
    return Interval(torch.zeros_like(lengths), lengths)


def padding(lengths: Tensor | list[int], starts: Tensor | list[int] | None = None) -> Mask:
    """Keys that are real rather than padding: `starts[b] <= j < starts[b] + lengths[b]`.

    Args:
        lengths: How many real keys each batch item has, `[batch]`.
        starts: Where they begin; default 0 (right padding). For left padding give
            `kv_len - lengths`.
    """
    lengths = torch.as_tensor(lengths).reshape(-1)
    begin = torch.zeros_like(lengths) if starts is None else torch.as_tensor(starts).reshape(-1)
    if begin.shape != lengths.shape:
        raise ValueError(f"starts has {begin.numel()} entries, lengths has {lengths.numel()}")
    if not is_compiling() and lengths.numel() and int(torch.minimum(lengths, begin).min()) < 0:
        raise ValueError("lengths and starts count keys: none may be negative")
    return Interval(begin, begin + lengths)


def keys(keep: Tensor) -> Mask:
    """Keys that may be attended, one by one: bool `[kv_len]` or `[batch, kv_len]`."""
    if keep.dtype != torch.bool or keep.dim() not in (1, 2):
        raise ValueError(
            f"keys() takes bool [kv_len] or [batch, kv_len], got {keep.dtype} {tuple(keep.shape)}"
        )
    return Keys(keep if keep.dim() == 2 else keep[None])


def documents(ids: Tensor, key_ids: Tensor | None = None) -> Mask:
    """Queries attend within their own document only (packed sequences).

    Args:
        ids: Document number of each query, integer `[q_len]` or `[batch, q_len]`.
        key_ids: The same for each key; default: the queries' (self-attention).
    """
    sides = []
    for name, side in (("ids", ids), ("key_ids", ids if key_ids is None else key_ids)):
        if side.dim() not in (1, 2) or side.is_floating_point() or side.dtype == torch.bool:
            raise ValueError(
                f"documents({name}=) takes integers [len] or [batch, len], "
                f"got {side.dtype} {tuple(side.shape)}"
            )
        sides.append(side if side.dim() == 2 else side[None])
    return Documents(*sides)


def dense(allowed: Tensor) -> Mask:
    """An explicit bool tensor that broadcasts to `[batch, num_heads, q_len, kv_len]`."""
    if allowed.dtype != torch.bool or allowed.dim() > 4:
        raise ValueError(
            "dense() takes a bool tensor of at most 4 dimensions (True = may attend), "
            f"got {allowed.dtype} {tuple(allowed.shape)}"
        )
    return Dense(allowed.reshape((1,) * (4 - allowed.dim()) + tuple(allowed.shape)))


def predicate(mask_mod: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Mask:
    """Any rule as a function of indices, FlexAttention's `mask_mod(b, h, q_idx, kv_idx)`.

    It is evaluated tile by tile on broadcasting index tensors, so it must be written with tensor
    operations. No tile is known to be empty, hence none is skipped: prefer the named masks.
    """
    return Predicate(mask_mod)
