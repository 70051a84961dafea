"""Scaled dot-product attention, and what goes wrong in it (masks: `masking.py`).

    context = softmax(query keyᵀ / √head_dim, where allowed) value

Shapes: query [batch, heads, queries, width], key and value [batch, kv_heads, keys, width].
"""

import math

import torch

from eyeline.doctor.recipe import Recipe, State

__all__ = ["ATTENTION"]

ATTENTION = Recipe(
    "attention",
    "softmax(query keyᵀ / √head_dim, where the mask allows) value",
    result="context",
    signature="f(query, key, value, mask)",
)


@ATTENTION.step
def heads(s: State) -> State:
    """Query, key, value with a head for each query head: grouped ones are repeated."""
    group = s.num_heads // s.num_kv_heads
    if group == 1:
        return {}
    return {
        "key": s.key.repeat_interleave(group, 1),
        "value": s.value.repeat_interleave(group, 1),
    }


@ATTENTION.step
def scores(s: State) -> State:
    """Every query with every key."""
    return s.query @ s.key.transpose(-2, -1)


@ATTENTION.step
def scaled(s: State) -> State:
    """So that scores of wide heads are not larger than those of narrow ones."""
    return s.scores * s.scale


@ATTENTION.step
def causal(s: State) -> State:
    """Who may look where by position: [queries, keys]."""
    everything = torch.ones(s.q_len, s.kv_len, dtype=torch.bool)
    return everything.tril(s.offset) if s.is_causal else everything


@ATTENTION.step
def allowed(s: State) -> State:
    """The given mask and the causal one."""
    return s.causal if s.mask is None else s.mask & s.causal


@ATTENTION.step
def masked(s: State) -> State:
    """Scores that softmax turns into 0 where nothing may be seen."""
    return s.scaled.masked_fill(~s.allowed, -torch.inf)


@ATTENTION.step
def weights(s: State) -> State:
    """Softmax over the keys; a query that may see nothing gives no weight at all."""
    return torch.softmax(s.masked, -1).masked_fill(~s.allowed.any(-1, keepdim=True), 0)


@ATTENTION.step
def context(s: State) -> State:
    """Each query's mean of the values."""
    return s.weights @ s.value


PAPER = "Vaswani et al. 2017, section 3.2.1, arXiv:1706.03762"


# -- which key and value head a query head reads (grouped queries) -------------------------------


@ATTENTION.mistake(
    "heads",
    "key heads tiled instead of interleaved",
    seen="key = key.repeat(1, groups, 1, 1)",
    symptom="Right with as many key heads as query heads; with fewer, heads read others' keys.",
    fix="Query heads 0 and 1 share the first key head. Which repeat puts copies side by side?",
    source="Ainslie et al. 2023, arXiv:2305.13245",
    needs=("group", "num_kv_heads"),
)
def _(s: State) -> State:
    group = s.num_heads // s.num_kv_heads
    return {"key": s.key.repeat(1, group, 1, 1), "value": s.value.repeat(1, group, 1, 1)}


@ATTENTION.mistake(
    "heads",
    "value heads grouped otherwise than key heads",
    seen="key.repeat_interleave(groups, 1); value.repeat(1, groups, 1, 1)",
    symptom="The weights are right, but they mix the values of another head.",
    fix="Do keys and values of one head come from the same place?",
    needs=("group", "num_kv_heads"),
)
def _(s: State) -> State:
    group = s.num_heads // s.num_kv_heads
    return {"key": s.key.repeat_interleave(group, 1), "value": s.value.repeat(1, group, 1, 1)}


@ATTENTION.mistake(
    "heads",
    "every query head reads the first key head",
    seen="scores = query @ key[:, :1].transpose(-2, -1)",
    symptom="Right for multi-query attention, where there is one; other groups lose their own.",
    fix="How many key heads are there, and who reads the second?",
    needs=("num_kv_heads",),
)
def _(s: State) -> State:
    return {
        "key": s.key[:, :1].expand(-1, s.num_heads, -1, -1),
        "value": s.value[:, :1].expand(-1, s.num_heads, -1, -1),
    }


# -- scores --------------------------------------------------------------------------------------


@ATTENTION.mistake(
    "scores",
    "queries compared with queries",
    seen="scores = q @ q.transpose(-2, -1)",
    symptom="Every token looks mostly at itself; the matrix of scores is symmetric.",
    fix="Who asks, and who is asked?",
)
def _(s: State) -> State:
    return s.query @ s.query.transpose(-2, -1)


@ATTENTION.mistake(
    "scores",
    "keys compared with keys",
    seen="scores = k @ k.transpose(-2, -1)",
    symptom="The query does not matter at all.",
    fix="Change one query: should its row of scores change?",
)
def _(s: State) -> State:
    return s.key @ s.key.transpose(-2, -1)


@ATTENTION.mistake(
    "scores",
    "queries compared with values",
    seen="scores = q @ v.transpose(-2, -1)",
    symptom="Changing a key changes nothing.",
    fix="Which of the three says what a position offers?",
)
def _(s: State) -> State:
    return s.query @ s.value.transpose(-2, -1)


@ATTENTION.mistake(
    "scores",
    "keys asked and queries answering",
    seen="scores = k @ q.transpose(-2, -1)",
    symptom="Row i says who looks at i, not at whom i looks. Needs as many queries as keys.",
    fix="Which axis of the scores is one query?",
)
def _(s: State) -> State:
    return s.key @ s.query.transpose(-2, -1)


@ATTENTION.mistake(
    "scores",
    "cosine instead of dot product",
    seen="scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)",
    symptom="Weights are nearly even: no score exceeds 1.",
    fix="Do long vectors count more than short ones in the paper's formula?",
)
def _(s: State) -> State:
    unit = torch.nn.functional.normalize
    return unit(s.query, dim=-1) @ unit(s.key, dim=-1).transpose(-2, -1)


@ATTENTION.mistake(
    "scores",
    "attention over the heads instead of the tokens",
    seen="q = self.w_q(x).view(B, L, H, D)  # no transpose; scores = q @ k.transpose(-2, -1)",
    symptom="Nothing moves between tokens: change one token and no other output changes.",
    fix="`@` multiplies the last two axes. Are these tokens and width?",
    source="annotated-transformer#17, aladdinpersson#83",
    needs=("num_heads",),
    also={
        "masked": lambda s: s.scaled,
        "weights": lambda s: torch.softmax(s.masked, -1),
        "context": lambda s: (s.weights @ s.value.transpose(1, 2)).transpose(1, 2),
    },
)
def _(s: State) -> State:
    return s.query.transpose(1, 2) @ s.key.transpose(1, 2).transpose(-2, -1)


# -- scale ---------------------------------------------------------------------------------------


@ATTENTION.mistake(
    "scaled",
    "not scaled",
    seen="weights = softmax(q @ k.transpose(-2, -1), -1)",
    symptom="Weights are nearly 0 or 1 in wide heads, and gradients vanish.",
    fix="The variance of q·k grows with the width of a head. What brings it back to 1?",
    source=PAPER,
)
def _(s: State) -> State:
    return s.scores


@ATTENTION.mistake(
    "scaled",
    "scaled by 1/head_dim",
    seen="scores = q @ k.transpose(-2, -1) / q.size(-1)",
    symptom="Weights are too even.",
    fix="The standard deviation of q·k, not its variance, is what is divided away.",
    source=PAPER,
)
def _(s: State) -> State:
    return s.scores / s.head_dim


@ATTENTION.mistake(
    "scaled",
    "scaled twice",
    seen="F.scaled_dot_product_attention(q / math.sqrt(d), k, v)",
    symptom="Weights are too even; the same numbers as after division by head_dim.",
    fix="Who scales: you, or the function that you call?",
)
def _(s: State) -> State:
    return s.scores * s.scale * s.scale


@ATTENTION.mistake(
    "scaled",
    "scaled by √head_dim",
    seen="scores = q @ k.transpose(-2, -1) * math.sqrt(d)",
    symptom="One weight of each row is 1; softmax has no gradient.",
    fix="Should scores become larger or smaller?",
    source=PAPER,
)
def _(s: State) -> State:
    return s.scores * math.sqrt(s.head_dim)


@ATTENTION.mistake(
    "scaled",
    "scaled by 1/√embed_dim",
    seen="scores = scores / math.sqrt(self.embed_dim)",
    symptom="Right with one head; with many, weights are too even.",
    fix="How many numbers does one score sum up: those of the token, or those of a head?",
    source="aladdinpersson/Machine-Learning-Collection#65",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return s.scores / math.sqrt(s.embed_dim)


@ATTENTION.mistake(
    "scaled",
    "scaled by 1/√num_heads",
    seen="scores = scores / math.sqrt(q.size(1))",
    symptom="Looks right where there are as many heads as numbers in a head.",
    fix="Which axis holds the width of a head?",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return s.scores / math.sqrt(s.num_heads)


@ATTENTION.mistake(
    "scaled",
    "scaled by 1/√sequence length",
    seen="scores = scores / math.sqrt(k.size(-2))",
    symptom="Weights change with padding, and with how much has been generated.",
    fix="Which axis holds the width of a head?",
    values=("kv_len", "q_len"),
)
def _(s: State, length: str) -> State:
    return s.scores / math.sqrt(getattr(s, length))


@ATTENTION.mistake(
    "scaled",
    "scaled by 1/√value width",
    seen="scores = scores / math.sqrt(v.size(-1))",
    symptom="Looks right wherever values are as wide as keys.",
    fix="Which vectors are multiplied to make a score?",
)
def _(s: State) -> State:
    return s.scores / math.sqrt(s.value.shape[-1])
