"""What a caller states about a candidate; what is not stated is found by trying."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from eyeline._errors import EyelineError
from eyeline.doctor._arrays import LIBRARIES
from eyeline.doctor._layouts import LAYOUTS, MASK_FORMS

__all__ = ["Options"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "layout": (None, *LAYOUTS),
    "mask": (None, *MASK_FORMS),
    "causal": (None, True, False, "top-left", "bottom-right"),
    "arrays": (None, *LIBRARIES),
    "empty_rows": (None, "zero"),
    "pairing": (None, "interleaved", "halves"),
}


@dataclass(frozen=True)
class Options:
    """See `eyeline.check`."""

    adapter: Callable[..., Any] | None = None
    layout: str | None = None
    mask: str | None = None
    causal: bool | str | None = None
    scale: float | None = None
    num_heads: int | None = None
    weights: Mapping[str, Tensor] | None = None
    norm_first: bool | None = None
    pairing: str | None = None
    base: float | None = None
    arrays: str | None = None
    empty_rows: str | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            given = getattr(self, name)
            if given not in choices:
                known = ", ".join(repr(c) for c in choices if c is not None)
                raise EyelineError(f"{name}={given!r} is not known; choose one of {known}")
        if self.adapter is not None and not callable(self.adapter):
            raise EyelineError(
                "adapter is a function that calls the candidate: "
                "adapter=lambda candidate, query, key, value: candidate(query, key, value)"
            )

    def only(self, what: str, names: set[str]) -> None:
        """Raise `EyelineError` if something is stated that means nothing for this kind."""
        for field in fields(self):
            if getattr(self, field.name) is not None and field.name not in names | {"adapter"}:
                known = ", ".join(sorted(names | {"adapter"}))
                raise EyelineError(
                    f"{field.name}= means nothing for {what}; there one may state {known}"
                )
