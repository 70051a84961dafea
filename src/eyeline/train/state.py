"""Where a run stands: everything that going on needs, in one safetensors file.

The file is written beside the old one, through to the disk, and takes its place when it is whole:
whatever kills the run, the last checkpoint is there. A run that goes on from it draws the same
numbers as one that was never stopped.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from eyeline._errors import CheckpointError, EyelineError
from eyeline.models.saving import whole_file

__all__ = ["FILE", "State"]

FILE = "training.safetensors"


@dataclass
class State:
    """A run after some steps.

    Attributes:
        step: Steps done.
        tensors: Parameters, their running averages, and what the optimizer keeps, by name.
        generator: The state of torch's generator.
        settings: Those of the run: a checkpoint of other settings is not gone on from.
        curve: `(step, loss)` since the start, in nats per token.
        checks: What `Recipe.check` said, by step.
        seconds: Time spent so far.
        since: Losses since the last point of the curve.
    """

    step: int
    tensors: dict[str, Tensor]
    generator: Tensor
    settings: dict[str, Any]
    curve: list[tuple[int, float]] = field(default_factory=list)
    checks: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    since: list[float] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Save; the checkpoint that was there stays until this one is whole.

        Raises:
            EyelineError: It cannot be written (the disk is full, …).
        """
        about = asdict(self) | {"tensors": None, "generator": None}
        tensors = {n: t.detach().contiguous() for n, t in self.tensors.items()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with whole_file(folder / FILE) as path:
                safetensors.torch.save_file(
                    tensors | {"generator": self.generator},
                    path,
                    metadata={"eyeline": json.dumps(about)},
                )
        except (OSError, safetensors.SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EyelineError(
                f"cannot save to {folder}: {reason}; the checkpoint that was there is unchanged"
            ) from error

    @classmethod
    def read(cls, folder: Path) -> "State | None":
        """The last checkpoint of a run, if there is one.

        Raises:
            CheckpointError: The file is damaged.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            content = path.read_bytes()
            tensors = safetensors.torch.load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            about = json.loads(header["__metadata__"]["eyeline"])
            about["curve"] = [(int(step), float(loss)) for step, loss in about["curve"]]
            generator = tensors.pop("generator")
            return cls(**about | {"tensors": tensors, "generator": generator})
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            fix = "remove it to start afresh"
            raise CheckpointError(path, "a training checkpoint", error, fix=fix) from error

    def restore_generator(self) -> None:
        """Draw on where the run stopped."""
        torch.set_rng_state(self.generator)
