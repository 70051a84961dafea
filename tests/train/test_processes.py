"""Alone everything is itself; parts of a batch are all of it together."""

import torch
from torch import nn

from eyeline.train.processes import Processes, whole
from eyeline.train.recipe import Batch


def test_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = Processes.joined()
    module, batch = nn.Linear(2, 2), Batch((torch.arange(4),), 4)
    assert alone.first and alone.wrap(module) is module and alone.part(batch) is batch
    assert float(alone.total(torch.tensor(3.0))) == 3
    alone.wait()
    alone.end()  # ends no process that is alone


def test_parts_are_disjoint_and_count_the_whole():
    batch = Batch((torch.arange(7), torch.arange(14).view(7, 2)), 100)
    parts = [Processes(rank, 3).part(batch) for rank in range(3)]
    assert all(part.count == 100 for part in parts)
    together = torch.cat([part.tensors[0] for part in parts])
    assert sorted(together.tolist()) == list(range(7))
    assert all(len({len(t) for t in part.tensors}) == 1 for part in parts)


def test_a_plain_tensor_is_whole():
    tensor = torch.ones(2)
    assert whole(tensor) is tensor
