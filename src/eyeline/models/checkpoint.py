"""The tensors of a checkpoint by name, whatever the files, and networks made of them.

A checkpoint is one safetensors file, several with an index, or a GGUF file. Its header is checked
before anything is allocated, its numbers are read by copy, and nothing in it is ever executed.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from eyeline._errors import CheckpointError
from eyeline._memory import available_memory
from eyeline.models._keys import Part, parts_of
from eyeline.models._layout import shards
from eyeline.models._safetensors_file import NOT_REAL, Entry, SafetensorsFile

__all__ = ["Checkpoint", "fill", "open_checkpoint"]

_SHARE = 0.9
"""Of the memory that is available, a model may take so much."""


class Checkpoint(Protocol):
    """Tensors by name."""

    path: Path

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What there is, and where it lies."""
        ...

    def read(self, name: str) -> Tensor:
        """A tensor's numbers."""
        ...


class Sharded:
    """Several safetensors files as one checkpoint.

    Args:
        path: The folder, for messages.
        files: Its files.
    """

    def __init__(self, path: Path, files: list[SafetensorsFile]) -> None:
        self.path = path
        self._file_of: dict[str, SafetensorsFile] = {}
        for file in files:
            for name in file.entries:
                if name in self._file_of:
                    other = self._file_of[name].path.name
                    raise CheckpointError(
                        file.path,
                        "tensor",
                        f"{name!r}, which is in {other} too",
                        limit="each tensor in one file",
                        fix="fetch the model again",
                    )
                self._file_of[name] = file
        self.entries = {name: file.entries[name] for name, file in self._file_of.items()}

    def read(self, name: str) -> Tensor:
        return self._file_of[name].read(name)


def open_checkpoint(path: Path) -> Checkpoint:
    """The safetensors of a folder in Hugging Face layout, or one such file.

    Raises:
        CheckpointError: There are none, or they are not as the format says.
    """
    if path.is_file():
        return SafetensorsFile(path)
    files = [SafetensorsFile(path / name) for name in shards(path)]
    return files[0] if len(files) == 1 else Sharded(path, files)


def fill(
    network: nn.Module, checkpoint: Checkpoint, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Give a network, made on torch's "meta" device, the numbers of a checkpoint.

    Args:
        network: It has `KEYS`, `PREFIX` and `UNREAD`.
        checkpoint: Where the numbers are.
        dtype: What they become.

    Raises:
        CheckpointError: A tensor is missing, left over, of another shape or no floating-point
            numbers, or all of them together do not fit into memory.
    """
    parameters = dict(network.named_parameters())
    parts = _located(network, list(parameters), checkpoint)
    for name, part in parts.items():
        _check_entry(checkpoint, name, part, tuple(parameters[name].shape))
    _check_left_over(network, checkpoint, {part.name for part in parts.values()})
    _check_memory(checkpoint, sum(p.numel() for p in parameters.values()) * dtype.itemsize)
    held: tuple[str, Tensor] | None = None
    for name, part in parts.items():
        if held is None or held[0] != part.name:  # several parts of one tensor: read it once
            tensor = checkpoint.read(part.name)
            _warn_if_broken(checkpoint, part.name, tensor)
            held = part.name, tensor
        _put(network, name, part.take(held[1]).to(dtype))
    return network


def _located(network: Any, names: list[str], checkpoint: Checkpoint) -> dict[str, Part]:
    """Where each parameter lies: with or without the prefix, under today's name or an older one."""
    there = checkpoint.entries.keys()
    parts = parts_of(names, network.KEYS)
    bare = not any(name.startswith(network.PREFIX) for name in there)
    found = {}
    for name, part in parts.items():
        candidates = [part.name]
        if bare:
            candidates.append(part.name.removeprefix(network.PREFIX))
        candidates += [_older(one) for one in candidates]
        chosen = next((one for one in candidates if one in there), part.name)
        found[name] = replace(part, name=chosen)
    return found


def _older(name: str) -> str:
    """The first BERT's names of what norms have."""
    return re.sub(r"\bbias$", "beta", re.sub(r"\bweight$", "gamma", name))


def _check_entry(checkpoint: Checkpoint, name: str, part: Part, shape: tuple[int, ...]) -> None:
    wanted = part.shape_there(shape)
    if part.name not in checkpoint.entries:
        raise CheckpointError(
            checkpoint.path,
            "weights",
            f"no tensor {part.name!r}",
            limit=f"one of shape {list(wanted)}, as config.json says",
            fix="fetch the model again, or correct its config.json",
        )
    entry = checkpoint.entries[part.name]
    if entry.dtype in NOT_REAL:
        raise CheckpointError(
            checkpoint.path,
            f"dtype of {part.name!r}",
            entry.dtype,
            limit="floating-point numbers",
            fix="choose a copy of the model that was not quantised in this way",
        )
    if entry.shape != wanted:
        raise CheckpointError(
            checkpoint.path,
            f"shape of {part.name!r}",
            list(entry.shape),
            limit=f"{list(wanted)}, as config.json says",
            fix="config.json and weights are not of one model: fetch both again",
        )


def _check_left_over(network: Any, checkpoint: Checkpoint, read: set[str]) -> None:
    unread = re.compile("|".join(network.UNREAD) or r"(?!)")
    left = sorted(n for n in checkpoint.entries if n not in read and not unread.fullmatch(n))
    if any(name.startswith(network.PREFIX) for name in read):
        # outside of the network itself stand heads for other tasks, which nothing here reads
        left = [name for name in left if name.startswith(network.PREFIX)]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        raise CheckpointError(
            checkpoint.path,
            "weights",
            f"tensors that config.json does not speak of: {', '.join(left[:3])}{more}",
            limit=f"the {len(read)} tensors of a {type(network).__name__} of that size",
            fix="config.json and weights are not of one model: fetch both again",
        )


def _check_memory(checkpoint: Checkpoint, needed: int) -> None:
    free = available_memory()
    if free is not None and needed > _SHARE * free:
        raise CheckpointError(
            checkpoint.path,
            "size in memory",
            f"{needed / 1e9:.1f} GB",
            limit=f"{_SHARE * free / 1e9:.1f} GB, which is free",
            fix="choose a smaller model, or load it with dtype=torch.bfloat16",
        )


def _warn_if_broken(checkpoint: Checkpoint, name: str, tensor: Tensor) -> None:
    # NaN and infinity survive in a sum, which is many times as fast as looking at each number
    total = tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32))
    if not bool(total.isfinite()) and not bool(tensor.isfinite().all()):
        warnings.warn(f"{checkpoint.path}: tensor {name!r} holds NaN or inf", stacklevel=4)


def _put(network: nn.Module, name: str, value: Tensor) -> None:
    owner, _, own_name = name.rpartition(".")
    setattr(network.get_submodule(owner), own_name, nn.Parameter(value))
