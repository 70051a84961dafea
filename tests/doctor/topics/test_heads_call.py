"""Multi-head attention is called as it wants to be called: layout, mask, one input or three."""

import pytest
import torch
from torch import nn

from eyeline.doctor import check


class Heads(nn.Module):
    """Right; how it is called is up to its children."""

    def __init__(self, width=12, heads=3):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def attend(self, query, key, value, allowed=None):
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for project, x in (
                (self.q_proj, query),
                (self.k_proj, key),
                (self.v_proj, value),
            )
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if allowed is not None:
            scores = scores.masked_fill(~allowed, float("-inf"))
        return self.out_proj((scores.softmax(-1) @ v).transpose(-3, -2).flatten(-2))


class OneInput(Heads):
    def forward(self, x):
        return self.attend(x, x, x)


class LengthFirst(Heads):
    def forward(self, query, key, value):
        x = (one.transpose(0, 1) for one in (query, key, value))
        return self.attend(*x).transpose(0, 1)


class OneText(Heads):
    def forward(self, x):
        assert x.dim() == 2, "one text at a time: [length, width]"
        return self.attend(x, x, x)


class Padded(Heads):
    def forward(self, x, key_padding_mask=None):
        allowed = None if key_padding_mask is None else ~key_padding_mask[:, None, None, :]
        return self.attend(x, x, x, allowed)


class Cross(Heads):
    def forward(self, x, memory):
        return self.attend(x, memory, memory)


class Flagged(Heads):
    def forward(self, x, is_causal=False):
        length = x.shape[-2]
        allowed = torch.ones(length, length, dtype=torch.bool).tril() if is_causal else None
        return self.attend(x, x, x, allowed)


@pytest.mark.parametrize("made", [OneInput, LengthFirst, OneText, Padded, Cross, Flagged])
def test_however_it_is_called(made):
    found = check(made())
    assert found.ok, found


class Ignored(Heads):
    def forward(self, x, key_padding_mask=None):
        return self.attend(x, x, x)


class KeysFromTheQueries(Heads):
    def forward(self, x, memory):
        return self.attend(x, x, memory[:, : x.shape[1]] if memory.shape[1] > x.shape[1] else x)


@pytest.mark.parametrize("made", [Ignored, KeysFromTheQueries])
def test_what_is_given_and_not_used_is_found(made):
    found = check(made())
    assert not found.ok, found
