"""Weights are found in modules that keep them in different ways, and nothing of them changes."""

import torch
from torch import nn

from eyeline.doctor import check


class Packed(nn.Module):
    def __init__(self, width=12, heads=3):
        super().__init__()
        self.heads, self.qkv, self.proj = (
            heads,
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )

    def forward(self, x, mask=None):
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1)
        )
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -1e9)
        return self.proj((torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2))


def test_packed_projections_are_found():
    module = Packed()
    before = {n: p.clone() for n, p in module.state_dict().items()}
    assert check(module).ok
    assert all(torch.equal(p, before[n]) for n, p in module.state_dict().items())


def test_torchs_module_is_right():
    assert check(nn.MultiheadAttention(12, 3, batch_first=True)).ok
