"""What watching a model yields: `Maps` of `Record`s."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from eyeline._errors import EyelineError
from eyeline.maps import AttentionMap

__all__ = ["VECTORS", "Kind", "Maps", "Record", "UnsupportedModel"]

VECTORS = "query, key and value"
"""What a record keeps unless its map can make them again."""

Kind: TypeAlias = Literal["encoder", "decoder", "cross"]


class UnsupportedModel(EyelineError):
    """The attention of this model cannot be watched; the message says why."""


@dataclass(frozen=True, eq=False)
class Record:
    """One attention call of a forward pass.

    Attributes:
        name: The module's name in the model; `name@1`, `name@2`, … when one module is called again
            in the same pass (ALBERT shares one module among all layers).
        module: The attention module.
        kind: "encoder" (sees both sides), "decoder" (sees the past) or "cross".
        layer: Number of the layer, from 0.
        map: The weights. Queries, keys and values as the model used them are in `map.problem`.
        output: The weighted values per head, before the output projection; None unless `watch` was
            asked for outputs, as they are half of what a pass leaves in memory.
        keeps: "query, key and value", "inputs" or "statistics", as `watch(keep=…)` asked; where
            inputs would not do, "query, key and value", a colon and the reason.
    """

    name: str
    module: nn.Module
    kind: Kind
    layer: int
    map: AttentionMap
    output: Float[Tensor, "batch num_heads q_len value_dim"] | None = None
    keeps: str = VECTORS

    def __repr__(self) -> str:
        what = f"{self.kind} layer {self.layer}"
        return f"Record({self.name}: {what}, {self.map}, keeps {self.keeps})"


class Maps(Mapping[str, AttentionMap]):
    """Module name → `AttentionMap`, in order of the forward pass (of the last one)."""

    def __init__(self) -> None:
        self.record_passes: list[dict[str, Record]] = []
        """The records of every pass so far."""

    @property
    def passes(self) -> list[dict[str, AttentionMap]]:
        """The maps of every forward pass of the model, in order (`generate` makes many).

        What runs before a pass and outside of it, as the encoder does when an encoder-decoder
        generates, belongs to the pass that follows.
        """
        return [{n: r.map for n, r in records.items()} for records in self.record_passes]

    @property
    def records(self) -> dict[str, Record]:
        """Module name → `Record` of the last pass."""
        return dict(self.record_passes[-1]) if self.record_passes else {}

    def __getitem__(self, name: str) -> AttentionMap:
        records = self.record_passes[-1] if self.record_passes else {}
        if name not in records:
            known = ", ".join(records) or "none: no forward pass has finished"
            raise KeyError(f"no map is named {name!r}; there are: {known}")
        return records[name].map

    def __iter__(self) -> Iterator[str]:
        return iter(self.record_passes[-1] if self.record_passes else {})

    def __len__(self) -> int:
        return len(self.record_passes[-1]) if self.record_passes else 0

    def __repr__(self) -> str:
        return f"Maps({len(self)} maps, {len(self.record_passes)} passes)"
