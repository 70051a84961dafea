"""Right implementations in as many styles as there are: none of them may be called wrong."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import eyeline
from eyeline import masks


def plain(query, key, value, mask=None):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.softmax(scores, -1) @ value


def annotated(query, key, value, mask=None, dropout=None):
    "As in the Annotated Transformer."
    d_k = query.size(-1)
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(d_k)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    p_attn = scores.softmax(dim=-1)
    if dropout is not None:
        p_attn = dropout(p_attn)
    return torch.matmul(p_attn, value), p_attn


def einsum(q, k, v, mask=None):
    scores = torch.einsum("bhld,bhsd->bhls", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores + torch.where(mask, 0.0, -1e30)
    return torch.einsum("bhls,bhsv->bhlv", scores.softmax(-1), v)


def loops(q, k, v):
    out = torch.zeros(*q.shape[:-1], v.shape[-1])
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                scores = [float(q[b, h, i] @ row) / math.sqrt(q.shape[3]) for row in k[b, h]]
                top = max(scores)
                e = [math.exp(s - top) for s in scores]
                for weight, row in zip(e, v[b, h], strict=True):
                    out[b, h, i] += weight / sum(e) * row
    return out


def chunked(q, k, v, block=32):
    "Online softmax."
    top = q.new_full(q.shape[:-1], -torch.inf)
    total = q.new_zeros(q.shape[:-1])
    out = q.new_zeros(*q.shape[:-1], v.shape[-1])
    for k_b, v_b in zip(k.split(block, -2), v.split(block, -2), strict=True):
        s = q @ k_b.transpose(-2, -1) / math.sqrt(q.shape[-1])
        new = torch.maximum(top, s.amax(-1))
        p, rescale = torch.exp(s - new[..., None]), torch.exp(top - new)
        total = total * rescale + p.sum(-1)
        out = out * rescale[..., None] + p @ v_b
        top = new
    return out / total[..., None]


def filled_and_renormalised(q, k, v, mask=None):
    "Fill of -1e4, and what is left over is divided again."
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e4)
    weights = scores.softmax(-1)
    if mask is not None:
        weights = weights * mask
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)
    return weights @ v


def masked_after_and_renormalised(q, k, v, mask=None):
    weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.size(-1)), -1)
    if mask is not None:
        weights = weights * mask
        weights = weights / weights.sum(-1, keepdim=True)
    return weights @ v


def inverse_polarity(q, k, v, mask=None):
    "True = must not attend, as torch.nn.MultiheadAttention has it."
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask, -torch.inf)
    return scores.softmax(-1) @ v


def additive(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    return (scores if mask is None else scores + mask).softmax(-1) @ v


def ones_and_zeros(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = scores + (1.0 - mask) * -1e9
    return scores.softmax(-1) @ v


def tokens_first(q, k, v):
    "[batch, length, heads, width], as FlashAttention has it; causal by itself."
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def one_head(q, k, v):
    "[batch, length, width]."
    return torch.bmm(F.softmax(torch.bmm(q, k.mT) / q.shape[2] ** 0.5, 2), v)


def two_axes(q, k, v):
    return F.softmax(q @ k.T / k.shape[1] ** 0.5, dim=1) @ v


def in_numpy(q, k, v, mask=None):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    with np.errstate(invalid="ignore"):
        e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def in_single(q, k, v, mask=None):
    "Half of the models compute softmax in float32, whatever comes in."
    scores = (q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))).float()
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(torch.float32).min)
    return scores.softmax(-1).to(v.dtype) @ v


def bottom_right(q, k, v):
    mask = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool).tril(k.size(-2) - q.size(-2))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def ours(query, key, value, mask=None, is_causal=False):
    rule = None if mask is None else masks.dense(mask)
    return eyeline.attention(query, key, value, rule, is_causal=is_causal)


FUNCTIONS = [
    plain, annotated, einsum, loops, chunked, filled_and_renormalised,
    masked_after_and_renormalised, inverse_polarity, additive, ones_and_zeros, tokens_first,
    one_head, two_axes, in_numpy, in_single, bottom_right, ours, F.scaled_dot_product_attention,
    eyeline.attention,
]  # fmt: skip


class Separate(nn.Module):
    def __init__(self, d_model, num_heads):
        super().__init__()
        self.num_heads, self.d_k = num_heads, d_model // num_heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, q, k, v, mask=None):
        batch = q.size(0)
        q, k, v = (
            layer(x).view(batch, -1, self.num_heads, self.d_k).transpose(1, 2)
            for layer, x in ((self.W_q, q), (self.W_k, k), (self.W_v, v))
        )
        out, _ = annotated(q, k, v, None if mask is None else mask.unsqueeze(1))
        return self.W_o(out.transpose(1, 2).contiguous().view(batch, -1, self.num_heads * self.d_k))


class Listed(nn.Module):
    "The Annotated Transformer's: four linear layers in a list."

    def __init__(self, h, d_model):
        super().__init__()
        self.d_k, self.h = d_model // h, h
        self.linears = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, query, key, value, mask=None):
        n = query.size(0)
        query, key, value = [
            lin(x).view(n, -1, self.h, self.d_k).transpose(1, 2)
            for lin, x in zip(self.linears, (query, key, value), strict=False)
        ]
        x, _ = annotated(query, key, value, mask)
        return self.linears[-1](x.transpose(1, 2).contiguous().view(n, -1, self.h * self.d_k))


class Packed(nn.Module):
    "nanoGPT's: packed, causal by a buffer."

    def __init__(self, n_embd, n_head, block_size, dropout=0.1):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.n_head, self.n_embd, self.drop = n_head, n_embd, nn.Dropout(dropout)
        causal = torch.tril(torch.ones(block_size, block_size))
        self.register_buffer("bias", causal.view(1, 1, block_size, block_size))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        y = self.drop(F.softmax(att, dim=-1)) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class HeadByHead(nn.Module):
    "Packed as GPT-NeoX and BLOOM do it: [heads, 3, width]."

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value, self.dense = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, hidden_states):
        b, n, _ = hidden_states.shape
        qkv = self.query_key_value(hidden_states).view(b, n, self.num_heads, -1).transpose(1, 2)
        out = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        return self.dense(out.transpose(1, 2).reshape(b, n, -1))


class Wrapped(nn.Module):
    "A list of one-head modules, side by side."

    class Head(nn.Module):
        def __init__(self, d_in, d_out):
            super().__init__()
            self.W_query, self.W_key, self.W_value = (nn.Linear(d_in, d_out) for _ in range(3))

        def forward(self, x):
            q, k, v = self.W_query(x), self.W_key(x), self.W_value(x)
            scores = q @ k.transpose(1, 2)
            mask = torch.triu(torch.ones(x.size(1), x.size(1)), diagonal=1).bool()
            scores = scores.masked_fill(mask, -torch.inf)
            return torch.softmax(scores / k.shape[-1] ** 0.5, dim=-1) @ v

    def __init__(self, d_model=12, num_heads=3):
        super().__init__()
        width = d_model // num_heads
        self.heads = nn.ModuleList(self.Head(d_model, width) for _ in range(num_heads))
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.out_proj(torch.cat([head(x) for head in self.heads], dim=-1))


class Bare(nn.Module):
    "One head, with parameters [in, out]."

    def __init__(self, d_in, d_out):
        super().__init__()
        self.W_query, self.W_key, self.W_value = (
            nn.Parameter(torch.rand(d_in, d_out)) for _ in range(3)
        )

    def forward(self, x):
        q, k, v = x @ self.W_query, x @ self.W_key, x @ self.W_value
        return torch.softmax(q @ k.transpose(-2, -1) / k.shape[-1] ** 0.5, dim=-1) @ v


class Grouped(nn.Module):
    "Llama's, without rotary positions."

    def __init__(self, dim=24, n_heads=6, n_kv_heads=2):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, dim // n_heads
        self.wq = nn.Linear(dim, n_heads * self.head_dim, bias=False)
        self.wk = nn.Linear(dim, n_kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(dim, n_kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(n_heads * self.head_dim, dim, bias=False)

    def forward(self, x):
        b, n, _ = x.shape
        q = self.wq(x).view(b, n, self.n_heads, self.head_dim).transpose(1, 2)
        k, v = (
            w(x).view(b, n, self.n_kv_heads, self.head_dim).transpose(1, 2).repeat_interleave(3, 1)
            for w in (self.wk, self.wv)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(out.transpose(1, 2).reshape(b, n, -1))


def with_weights(d_model, num_heads, q_proj_weight, k_proj_weight, v_proj_weight, o_proj_weight,
                 in_features):  # fmt: skip
    "CS336's signature: weights are passed in."
    b, n, _ = in_features.shape
    q, k, v = (
        (in_features @ w.T).view(b, n, num_heads, d_model // num_heads).transpose(1, 2)
        for w in (q_proj_weight, k_proj_weight, v_proj_weight)
    )
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return out.transpose(1, 2).reshape(b, n, d_model) @ o_proj_weight.T


MODULES = [
    Separate, Separate(24, 4), Listed, Packed, HeadByHead, Wrapped, Wrapped(24, 4), Bare, Grouped,
    Grouped(), with_weights, nn.MultiheadAttention(12, 3),
    nn.MultiheadAttention(12, 3, batch_first=True), nn.MultiheadAttention(12, 3, kdim=8, vdim=6),
    eyeline.nn.MultiHeadAttention(12, 3), eyeline.nn.MultiHeadAttention(24, 6, num_kv_heads=2),
    eyeline.nn.MultiheadAttention(12, 3, kdim=8, vdim=6),
]  # fmt: skip
