"""Mistakes as they stood in well-known teaching code, retold: each is named."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eyeline import check


class ScaledByEmbedding(nn.Module):
    """aladdinpersson/Machine-Learning-Collection#65."""

    def __init__(self, embed_size, heads):
        super().__init__()
        self.embed_size, self.heads, self.head_dim = embed_size, heads, embed_size // heads
        self.values, self.keys, self.queries, self.fc_out = (
            nn.Linear(embed_size, embed_size) for _ in range(4)
        )

    def forward(self, values, keys, query, mask):
        sides = (self.values(values), self.keys(keys), self.queries(query))
        v, k, q = (x.unflatten(-1, (self.heads, self.head_dim)) for x in sides)
        energy = torch.einsum("nqhd,nkhd->nhqk", q, k)
        if mask is not None:
            energy = energy.masked_fill(mask == 0, float("-1e20"))
        attention = torch.softmax(energy / math.sqrt(self.embed_size), dim=3)
        return self.fc_out(torch.einsum("nhql,nlhd->nqhd", attention, v).flatten(2))


class MergedWrong(nn.Module):
    """ajhalthor/Transformer-Neural-Network#4, jsbaan/transformer-from-scratch#6."""

    def __init__(self, d_model, num_heads):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.qkv_layer, self.linear_layer = (
            nn.Linear(d_model, 3 * d_model),
            nn.Linear(d_model, d_model),
        )

    def forward(self, x, mask=None):
        b, n, e = x.size()
        qkv = self.qkv_layer(x).reshape(b, n, self.num_heads, 3 * self.head_dim)
        q, k, v = qkv.permute(0, 2, 1, 3).chunk(3, dim=-1)
        scores = q @ k.mT / math.sqrt(self.head_dim)
        values = F.softmax(scores if mask is None else scores + mask, dim=-1) @ v
        return self.linear_layer(values.reshape(b, n, e))


class AntiCausal(nn.Module):
    """rasbt/LLMs-from-scratch#1061."""

    def __init__(self, d_in, d_out, num_heads, context_length, dropout=0.0, qkv_bias=False):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_out // num_heads
        self.qkv, self.proj = nn.Linear(d_in, 3 * d_out, bias=qkv_bias), nn.Linear(d_out, d_out)
        future = torch.triu(torch.ones(context_length, context_length), diagonal=1)
        self.register_buffer("mask", future)

    def forward(self, x):
        b, n, _ = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(*qkv, attn_mask=self.mask[:n, :n].bool())
        return self.proj(out.transpose(1, 2).reshape(b, n, -1))


class OverQueries(nn.Module):
    """labml#146: [length, batch, heads, width], softmax over the queries."""

    def __init__(self, heads, d_model, axis=0):
        super().__init__()
        self.heads, self.axis = heads, axis
        self.query, self.key, self.value, self.output = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def forward(self, *, query, key, value):
        sides = (self.query(query), self.key(key), self.value(value))
        q, k, v = (x.unflatten(-1, (self.heads, -1)) for x in sides)
        scores = torch.einsum("ibhd,jbhd->ijbh", q, k) / math.sqrt(q.shape[-1])
        out = torch.einsum("ijbh,jbhd->ibhd", scores.softmax(dim=self.axis), v)
        return self.output(out.flatten(2))


class AnnotatedNorm(nn.Module):
    """The Annotated Transformer's LayerNorm."""

    def __init__(self, features, eps=1e-6):
        super().__init__()
        self.a_2, self.b_2 = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x):
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.a_2 * (x - mean) / (std + self.eps) + self.b_2


def mixed_rope(x, theta=10000.0):
    """rasbt/LLMs-from-scratch#747: halves are turned, angles are written for neighbours."""
    n, d = x.shape[-2:]
    angles = torch.outer(torch.arange(n), theta ** (-torch.arange(0, d, 2) / d))
    cos, sin = angles.cos().repeat_interleave(2, -1), angles.sin().repeat_interleave(2, -1)
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


@pytest.mark.parametrize(
    "candidate, name",
    [
        (ScaledByEmbedding, "scaled by 1/√embed_dim"),
        (MergedWrong, "heads merged without transposing"),
        (AntiCausal, "causal mask inverted"),
        (OverQueries, "softmax over the queries"),
        (AnnotatedNorm, "variance divided by n − 1 and eps added to the deviation"),
        (mixed_rope, "angles laid out for the other pairing"),
    ],
)
def test_named(candidate, name):
    if candidate is AnnotatedNorm:
        assert check(candidate, "layer norm").name == name
    else:
        assert check(candidate).name == name


def test_over_the_keys_it_is_right():
    assert check(OverQueries(3, 12, axis=1)).ok


def test_a_mask_that_cannot_be_used_is_no_pass():
    class Odd(OverQueries):
        def forward(self, *, query, key, value, mask=None):
            if mask is not None:
                raise RuntimeError("expects [queries, keys, batch, heads]")
            return super().forward(query=query, key=key, value=value)

    diagnosis = check(Odd(3, 12, axis=1))
    assert not diagnosis.ok and diagnosis.name == "its mask could not be used"
    assert "without a mask it is right" in str(diagnosis) and "adapter=" in str(diagnosis)


def test_right_in_a_narrow_layout_and_wrong_in_a_wider_one():
    def rows(q, k, v):
        return F.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=1) @ v

    diagnosis = check(rows)
    assert diagnosis.ok and any("softmax over the heads" in r for r in diagnosis.remarks)
    assert check(rows, layout="BHLD").name == "softmax over the heads"
