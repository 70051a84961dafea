"""Whose tensor is whose: our parameters' names, and the names in Hugging Face checkpoints.

A model's table maps patterns; `*` stands for a layer's number, or for what is left of a name at its
end. Where a checkpoint packs several matrices into one, or keeps them transposed, `Part` says so.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from re import Pattern
from typing import TypeAlias

import torch
from torch import Tensor

_CONTIGUOUS = torch.contiguous_format

__all__ = ["KeyTable", "Part", "parts_of"]


@dataclass(frozen=True)
class Part:
    """A piece of a checkpoint's tensor.

    Attributes:
        name: The tensor's name.
        index: Which of its pieces, from 0.
        of: How many equal pieces it has, along our rows.
        transposed: The checkpoint keeps matrices as `[in, out]` (GPT-2's Conv1D).
        also: Another name that the tensor is written under as well.
    """

    name: str
    index: int = 0
    of: int = 1
    transposed: bool = False
    also: str | None = None

    def shape_there(self, shape: Iterable[int]) -> tuple[int, ...]:
        """Shape of the checkpoint's tensor when ours has this one."""
        rows, *rest = shape
        whole = (rows * self.of, *rest)
        return whole[::-1] if self.transposed else whole

    def take(self, tensor: Tensor) -> Tensor:
        """Our parameter, out of the checkpoint's tensor."""
        rows = tensor.t() if self.transposed and tensor.dim() == 2 else tensor
        piece = rows.chunk(self.of)[self.index]
        # a view would keep the whole of it in memory
        return piece.contiguous() if self.of == 1 else piece.clone(memory_format=_CONTIGUOUS)

    def join(self, pieces: list[Tensor]) -> Tensor:
        """The checkpoint's tensor, out of all of our parameters."""
        whole = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        return (whole.t() if self.transposed and whole.dim() == 2 else whole).contiguous()


KeyTable: TypeAlias = Mapping[str, str | Part]


def parts_of(names: Iterable[str], table: KeyTable) -> dict[str, Part]:
    """For each of our parameters, the piece of the checkpoint that it is.

    Raises:
        KeyError: The table does not say where a parameter comes from.
    """
    rules = []
    for ours, theirs in table.items():
        part = theirs if isinstance(theirs, Part) else Part(theirs)
        rules.append((_pattern(ours), part))
    found: dict[str, Part] = {}
    for name in names:
        for pattern, part in rules:
            if match := pattern.fullmatch(name):
                there = part.name
                for wildcard in match.groups():
                    there = there.replace("*", wildcard, 1)
                found[name] = replace(part, name=there)
                break
        else:
            raise KeyError(f"no rule for the parameter {name!r}")
    return found


def _pattern(name: str) -> Pattern[str]:
    """In the middle of a name `*` is a layer's number, at its end whatever is left."""
    pattern = re.escape(name).replace(r"\.\*\.", r"\.(\d+)\.")
    return re.compile(re.sub(r"(^|\\\.)\\\*$", r"\1(.+)", pattern))
