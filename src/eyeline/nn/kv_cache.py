"""Keys and values of the tokens so far, so that each new token costs one row, not all of them.

The rooms grow by doubling, so n tokens are copied O(n) times in all, and what `append` returns are
views of them. Rows are only ever written behind the end of every view: an `AttentionMap` of an
earlier step stays true and takes no memory of its own.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["KVCache", "LayerCache"]

LEAST_ROOM = 64
"""Tokens that a first room has space for."""


class LayerCache:
    """Keys and values that one attention module has made so far.

    Args:
        capacity: Tokens to make room for at once; more are no error, they cost a copy.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.length = 0
        self._capacity = capacity
        self._rooms: tuple[Tensor, Tensor] | None = None
        self._shared = False  # rows behind `length` belong to views that were handed out

    @property
    def contents(self) -> tuple[Tensor, Tensor]:
        """Keys and values, `[batch, num_kv_heads, length, width]`.

        Raises:
            ValueError: Nothing has been appended.
        """
        if self._rooms is None:
            raise ValueError("this cache is empty: append keys and values first")
        # `.data` counts its own versions: rows written behind a view's end do not change the view
        key, value = (room.data[:, :, : self.length] for room in self._rooms)
        return key, value

    def append(
        self,
        key: Float[Tensor, "batch num_kv_heads new head_dim"],
        value: Float[Tensor, "batch num_kv_heads new value_dim"],
    ) -> tuple[Tensor, Tensor]:
        """Put the keys and values of new tokens behind the others.

        Returns:
            All keys and all values.

        Raises:
            ValueError: Gradients are wanted, or batch and heads are not those of the cache.
        """
        if key.requires_grad or value.requires_grad:
            raise ValueError(
                "a KVCache is for inference: no gradient flows through it; "
                "run under torch.no_grad(), or without a cache"
            )
        start, end = self.length, self.length + key.shape[2]
        rooms = self._rooms
        if rooms is None or self._shared or end > rooms[0].shape[2]:
            rooms = self._rooms = (self._room(0, key), self._room(1, value))
            self._shared = False
        for room, new in zip(rooms, (key, value), strict=True):
            _check_fits(room, new)
            room.data[:, :, start:end] = new
        self.length = end
        return self.contents

    @torch.inference_mode(False)  # a tensor of inference mode could not be written to later
    def _room(self, side: int, new: Tensor) -> Tensor:
        """A larger room that holds what the old one does."""
        batch, heads, length, width = new.shape
        needed = self.length + length
        size = max(self._capacity, needed if self._rooms is None else 2 * needed, LEAST_ROOM)
        room = new.new_empty(batch, heads, size, width)
        if self._rooms is not None:
            _check_fits(self._rooms[side], new)
            room[:, :, : self.length] = self._rooms[side][:, :, : self.length]
        return room

    def select(self, rows: Int[Tensor, " new_batch"]) -> None:
        """Keep these batch items, in this order; one may come several times (beam search)."""
        if self._rooms is not None:
            key, value = (room.index_select(0, rows) for room in self._rooms)
            self._rooms, self._shared = (key, value), False

    def crop(self, length: int) -> None:
        """Forget all tokens but the first `length`."""
        if not 0 <= length <= self.length:
            raise ValueError(f"crop({length}): the cache holds {self.length} tokens")
        self._shared = self._shared or length < self.length
        self.length = length

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the cache holds, free room included."""
        return sum(room.numel() * room.element_size() for room in self._rooms or ())


class KVCache:
    """One `LayerCache` per layer for self-attention, and one for cross-attention.

    Args:
        num_layers: Layers of the model.
        capacity: Tokens to make room for at once.

    Example:
        >>> import torch
        >>> from eyeline.nn import KVCache, MultiHeadAttention
        >>> attention, cache = MultiHeadAttention(64, 4), KVCache(num_layers=1)
        >>> with torch.no_grad():
        ...     for token in torch.randn(5, 1, 1, 64):
        ...         output = attention(token, is_causal=True, cache=cache[0])
        >>> cache.length
        5
    """

    def __init__(self, num_layers: int, capacity: int = 0) -> None:
        self.layers = [LayerCache(capacity) for _ in range(num_layers)]
        self.cross = [LayerCache() for _ in range(num_layers)]

    @property
    def length(self) -> int:
        """How many tokens every layer has seen: the position of the next one."""
        return min((layer.length for layer in self.layers), default=0)

    def __getitem__(self, layer: int) -> LayerCache:
        return self.layers[layer]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[LayerCache]:
        return iter(self.layers)

    def select(self, rows: Int[Tensor, " new_batch"]) -> None:
        """Keep these batch items, in this order, in every layer."""
        for layer in (*self.layers, *self.cross):
            layer.select(rows)

    def crop(self, length: int) -> None:
        """Forget all tokens but the first `length`; what cross-attention looks at stays."""
        for layer in self.layers:
            layer.crop(length)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the cache holds."""
        return sum(layer.nbytes for layer in (*self.layers, *self.cross))

    def __repr__(self) -> str:
        return f"KVCache({len(self)} layers, {self.length} tokens, {self.nbytes} bytes)"


def _check_fits(room: Tensor, new: Tensor) -> None:
    batch, heads, _, width = room.shape
    found = (new.shape[0], new.shape[1], new.shape[3])
    same = room.dtype == new.dtype and room.device == new.device
    if found != (batch, heads, width) or not same:
        raise ValueError(
            f"the cache holds {room.dtype} on {room.device} of [batch, heads, width] "
            f"{[batch, heads, width]}, new are {new.dtype} on {new.device} {list(found)}; "
            "a cache serves one model and one batch"
        )
