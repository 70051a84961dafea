"""One copy of the past: maps of successive decoding steps share their keys and values.

Each step of `generate` sees all earlier keys and one more. Kept apart, the keys of T steps would
take O(T²) numbers; kept here, O(T): a step whose keys begin with the earlier step's, bit for bit,
adds its new rows behind them.
"""

from dataclasses import replace

import torch
from torch import Tensor

from eyeline.maps import AttentionMap

__all__ = ["Past"]


class Past:
    """Keys and values that one attention module has seen so far."""

    def __init__(self) -> None:
        self._held: tuple[Tensor, Tensor] | None = None
        self._length = 0

    def share(self, seen: AttentionMap) -> AttentionMap:
        """The same map, reading from the common copy as far as there is one.

        A first map is only remembered; nothing is copied until a second one continues it.
        """
        new = (seen.problem.key, seen.problem.value)
        length = new[0].shape[2]
        if self._held is None or not self._continues(self._held, new):
            self._held, self._length = new, length
            return seen
        if self._held[0].shape[2] < length:
            self._held = tuple(self._grown(held) for held in self._held)  # type: ignore[assignment]
        for held, side in zip(self._held, new, strict=True):
            # .data counts its own versions: rows written behind a map's end do not change the map
            held.data[:, :, self._length : length] = side[:, :, self._length :]
        self._length = length
        key, value = (held.data[:, :, :length] for held in self._held)
        return AttentionMap(replace(seen.problem, key=key, value=value), seen.logsumexp)

    def _continues(self, held: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> bool:
        size = self._length
        return all(
            b.shape[2] >= size
            and a.dtype == b.dtype
            and a.device == b.device
            and a[:, :, :size].shape == b[:, :, :size].shape
            and torch.equal(a[:, :, :size], b[:, :, :size])
            for a, b in zip(held, new, strict=True)
        )

    @torch.inference_mode(False)  # an inference tensor could not be written to later
    def _grown(self, held: Tensor) -> Tensor:
        batch, heads, _, width = held.shape
        room = torch.empty(
            batch, heads, 2 * self._length, width, dtype=held.dtype, device=held.device
        )
        room[:, :, : self._length] = held[:, :, : self._length]
        return room
