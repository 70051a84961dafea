import subprocess
import sys
import textwrap

import torch
from torch import nn

from eyeline.models._unfilled import unfilled


def test_shapes_without_numbers():
    with unfilled():
        made = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 3), nn.LayerNorm(3))
        nn.init.xavier_uniform_(made[1].weight)
        nn.init.trunc_normal_(made[1].weight)
        made[1].weight.data.normal_(0, 0.02)
    assert [tuple(p.shape) for p in made.parameters()] == [(7, 4), (3, 4), (3,), (3,), (3,)]
    assert all(p.device.type == "meta" for p in made.parameters())


def test_afterwards_there_are_draws_again():
    with unfilled():
        nn.Linear(2, 2)
    assert torch.zeros(9).normal_().unique().numel() == 9
    assert nn.Linear(3, 3).weight.device.type == "cpu"


def test_a_built_in_model_reads_without_the_compiler():
    """Importing torch._dynamo and sympy takes longer than everything else together."""
    code = """
        import sys, torch
        before = set(sys.modules)
        import eyeline
        eyeline.read("The cat sat", "tiny-bert").look("cat")
        print(sorted({"torch._dynamo", "sympy", "transformers"} & set(sys.modules) - before))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
