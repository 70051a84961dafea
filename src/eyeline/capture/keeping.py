"""What a watcher wants kept of each attention call, and maps that keep less than the vectors."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from eyeline.impl._problem import Problem
from eyeline.maps import AttentionMap
from eyeline.masks import Mask
from eyeline.measuring import Measure

__all__ = ["Keep", "MeasuredMap", "OutlinedMap", "Wanted"]

Keep: TypeAlias = Literal["vectors", "inputs", "statistics"]


@dataclass(frozen=True)
class Wanted:
    """What one watcher wants of each call.

    Attributes:
        outputs: The attention's output too.
        keep: What maps are made of: query, key and value; the module's inputs; or nothing, so that
            they answer `measure` alone.
        measure: Statistics to take in the same pass as the output.
    """

    outputs: bool = False
    keep: Keep = "vectors"
    measure: Measure | None = None

    def __post_init__(self) -> None:
        known = Keep.__args__
        if self.keep not in known:
            raise ValueError(f"keep={self.keep!r} is unknown; choose one of {', '.join(known)}")
        if self.measure is not None and not isinstance(self.measure, Measure):
            found = type(self.measure).__name__
            raise TypeError(f"measure takes an eyeline.Measure(top_k=…, …), got {found}")
        if self.keep == "statistics" and self.measure is None:
            raise ValueError(
                'keep="statistics" keeps nothing else: say which, '
                "with measure=eyeline.Measure(top_k=8, entropy=True)"
            )


class OutlinedMap(AttentionMap):
    """An `AttentionMap` that remembers what its vectors looked like, and does not hold them."""

    def __init__(self, seen: AttentionMap) -> None:
        known = dict(vars(seen))  # the numbers of each row, and statistics taken with the pass
        self._outline = _outline(known.pop("problem"))
        vars(self).update(known)
        self._known = dict(seen._known)
        self._versions = None

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self._outline.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self._outline.compute_dtype

    @property
    def mask(self) -> Mask | None:
        return self._outline.mask

    def _described(self, kept: str) -> str:
        batch, heads, q_len, kv_len = self.shape
        parts = [f"{batch} x {heads} heads, {q_len} queries x {kv_len} keys"]
        parts += [str(rule) for rule in (self._outline.mask, *self._outline.biases) if rule]
        return f"AttentionMap({', '.join(parts)}; {kept} {self.nbytes} bytes)"


class MeasuredMap(OutlinedMap):
    """An `AttentionMap` that keeps only the statistics that were taken with the forward pass."""

    def __init__(self, seen: AttentionMap, measure: Measure) -> None:
        super().__init__(seen)
        self._measure = measure

    @property
    def problem(self) -> Problem:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Not there.

        Raises:
            RuntimeError: Always.
        """
        raise self._gone()

    @property
    def nbytes(self) -> int:
        held: list[Tensor] = [*self.normalizer]
        for answer in self._known.values():
            held += [answer] if isinstance(answer, Tensor) else answer
        return sum(t.numel() * t.element_size() for t in held)

    def __repr__(self) -> str:
        return self._described("only statistics,")

    def _check_unchanged(self) -> None:
        raise self._gone()

    def _gone(self) -> RuntimeError:
        return RuntimeError(
            f"this map keeps statistics alone, those of {self._measure}; for anything else watch "
            'with keep="vectors" or keep="inputs"'
        )


def _outline(problem: Problem) -> Problem:
    """The problem with vectors that have shape, dtype and device, and take no memory."""
    query, key, value = (
        torch.empty((), dtype=t.dtype, device=t.device).expand(t.shape)
        for t in (problem.query, problem.key, problem.value)
    )
    return replace(problem, query=query, key=key, value=value)
