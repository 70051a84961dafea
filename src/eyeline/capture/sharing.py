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
        held = self._held
        if held is None or not self._continues(held, new):
            self._held, self._length = new, length
            return seen
        if held[0].shape[2] < length:
            size = max(2 * self._length, length)
            held = self._held = (self._grown(held[0], size), self._grown(held[1], size))
        for room, side in zip(held, new, strict=True):
            room.data[:, :, self._length : length] = side[:, :, self._length :]
        self._length = length
        key, value = (_first(room, length) for room in held)
        return seen.reading_from(replace(seen.problem, key=key, value=value))

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
    def _grown(self, held: Tensor, size: int) -> Tensor:
        batch, heads, _, width = held.shape
        room = torch.empty(batch, heads, size, width, dtype=held.dtype, device=held.device)
        room[:, :, : self._length] = held[:, :, : self._length]
        return room


def _first(room: Tensor, length: int) -> Tensor:
    # .data counts its own versions: rows written behind a map's end do not change the map
    return room if room.shape[2] == length else room.data[:, :, :length]
