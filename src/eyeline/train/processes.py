"""One process or several: under `torchrun` each reads its part of every batch.

A loss is a mean over all tokens of a batch, wherever they were read. Each process therefore gives
the sum over its own tokens divided by the number of all, times the number of processes, since
gradients are averaged over them.
"""

import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from eyeline.train.recipe import Batch

__all__ = ["Processes", "whole"]


@dataclass(frozen=True)
class Processes:
    """Which of how many this is.

    Attributes:
        rank: Number of this process.
        count: How many there are.
        shard: Each holds a part of the parameters (FSDP2) instead of all of them (DDP).
    """

    rank: int = 0
    count: int = 1
    shard: bool = False

    @staticmethod
    def joined(shard: bool = False) -> "Processes":
        """Join the others, if `torchrun` started us; gloo on CPUs."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return Processes()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return Processes(dist.get_rank(), count, shard)

    @property
    def first(self) -> bool:
        """Whether this one says and writes what is said and written once."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are averaged over the processes when it is called."""
        if self.count == 1:
            return module
        if self.shard:
            fully_shard(module)  # in place
            return module
        return DistributedDataParallel(module)

    def part(self, batch: Batch) -> Batch:
        """The examples that are ours; `count` stays that of the whole batch."""
        if self.count == 1:
            return batch
        return Batch(tuple(t[self.rank :: self.count] for t in batch.tensors), batch.count)

    def total(self, number: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            number = number.clone()
            dist.all_reduce(number)
        return number

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def end(self) -> None:
        """End this process, if it is one of several, when all have come so far.

        Gloo's threads outlive their group (a device mesh still holds it), and now and then abort an
        interpreter that ends by itself.
        """
        if self.count > 1:
            dist.barrier()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which each process holds a part; all processes must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
