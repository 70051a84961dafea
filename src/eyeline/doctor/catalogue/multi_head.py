"""Multi-head attention with its projections, and what goes wrong around the equation.

    query, key, value = x W_Q, m W_K, m W_V     cut into heads
    output            = attention of each head, side by side, times W_O

Weights are [out, in] as in `torch.nn.Linear`; x is [batch, queries, embed_dim].
"""

import math
from itertools import permutations

import torch
from torch import Tensor

from eyeline.doctor.catalogue import masking as masking  # their mistakes come along
from eyeline.doctor.catalogue import weighting as weighting
from eyeline.doctor.catalogue.attention import ATTENTION
from eyeline.doctor.recipe import Recipe, State

__all__ = ["MULTI_HEAD"]

MULTI_HEAD = Recipe(
    "multi-head attention",
    "the attention of each head on its part of x W_Q, x W_K, x W_V, side by side, times W_O",
    result="output",
    signature="f(x, mask)",
)

SIDES = ("query", "key", "value")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer: x Wᵀ + b."""
    return x @ weight.T if bias is None else x @ weight.T + bias


def sources(s: State) -> tuple[Tensor, Tensor, Tensor]:
    """What queries, keys and values are made of."""
    return s.x, s.keys_from, s.values_from


def project(s: State, order: tuple[str, ...] = SIDES) -> State:
    """The three projections; with another order, by each other's weights."""
    made = {}
    for side, source, weights in zip(SIDES, sources(s), order, strict=True):
        made[f"{side}_flat"] = linear(
            source, getattr(s, f"w_{weights}"), getattr(s, f"b_{weights}")
        )
    return made


@MULTI_HEAD.step
def projected(s: State) -> State:
    """The three products x W_Q, m W_K, m W_V: [batch, length, heads · width]."""
    return project(s)


def cut(s: State, how: str) -> State:
    """Each projection in heads, [batch, heads, length, width], by a way of cutting."""
    counts = {"query": s.num_heads, "key": s.num_kv_heads, "value": s.num_kv_heads}
    made = {}
    for side, count in counts.items():
        flat = getattr(s, f"{side}_flat")
        if how == "heads first":
            made[side] = flat.unflatten(-1, (count, -1)).transpose(1, 2)
        elif how == "no transpose":
            made[side] = flat.reshape(flat.shape[0], count, flat.shape[1], -1)
        else:  # "width first"
            made[side] = flat.unflatten(-1, (-1, count)).permute(0, 3, 1, 2)
    return made


@MULTI_HEAD.step
def split(s: State) -> State:
    """Each projection cut into heads: neighbouring numbers belong to one head."""
    return cut(s, "heads first")


# heads are as wide as their values, and there is one alignment: the module's own
MULTI_HEAD.include(
    ATTENTION,
    without=("scaled by 1/√value width", "causal mask aligned at the other corner"),
)


@MULTI_HEAD.step
def merged(s: State) -> State:
    """Heads side by side: [batch, queries, heads · width]."""
    return s.context.transpose(1, 2).flatten(2)


@MULTI_HEAD.step
def output(s: State) -> State:
    """W_O mixes the heads."""
    return s.merged if s.w_output is None else linear(s.merged, s.w_output, s.b_output)


# -- projections ---------------------------------------------------------------------------------


@MULTI_HEAD.mistake(
    "projected",
    "keys made with the query projection",
    seen="q, k, v = self.w_q(x), self.w_q(x), self.w_v(x)",
    symptom="In self-attention the scores are symmetric before masking; w_k gets no gradient.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    return project(s, ("query", "query", "value"))


@MULTI_HEAD.mistake(
    "projected",
    "values made with the key projection",
    seen="q, k, v = self.w_q(x), self.w_k(x), self.w_k(x)",
    symptom="w_v gets no gradient.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    return project(s, ("query", "key", "key"))


@MULTI_HEAD.mistake(
    "projected",
    "queries, keys, values unpacked in another order",
    seen="v, k, q = self.c_attn(x).split(self.n_embd, dim=2)",
    symptom="Trains well from nothing; a checkpoint that is loaded gives nonsense.",
    fix="In which order did who saved the weights stack them?",
    values=tuple(order for order in permutations(SIDES) if order[2] != "value"),
)
def _(s: State, order: tuple[str, ...]) -> State:
    return project(s, order)


@MULTI_HEAD.mistake(
    "projected",
    "query and key projections exchanged",
    seen="k, q, v = self.c_attn(x).split(self.n_embd, dim=2)",
    symptom="Trains well from nothing; a checkpoint that is loaded gives nonsense.",
    fix="In which order did who saved the weights stack them?",
)
def _(s: State) -> State:
    return project(s, ("key", "query", "value"))


@MULTI_HEAD.mistake(
    "projected",
    "projection weights transposed",
    seen="q = x @ self.w_q.weight",
    symptom="No error where embed_dim is as wide as all heads; loaded weights give nonsense.",
    fix="nn.Linear keeps [out, in]. Which axis of the weight meets x?",
)
def _(s: State) -> State:
    return {
        f"{side}_flat": source @ getattr(s, f"w_{side}") + _bias(s, side)
        for side, source in zip(SIDES, sources(s), strict=True)
    }


def _bias(s: State, side: str) -> Tensor | float:
    bias = getattr(s, f"b_{side}")
    return 0.0 if bias is None else bias


@MULTI_HEAD.mistake(
    "projected",
    "projection biases forgotten",
    seen="q = F.linear(x, self.w_q.weight)",
    symptom="Right as long as biases are 0, as they are at the start in many libraries.",
    fix="What else does nn.Linear add?",
)
def _(s: State) -> State:
    return {
        f"{side}_flat": source @ getattr(s, f"w_{side}").T
        for side, source in zip(SIDES, sources(s), strict=True)
    }


@MULTI_HEAD.mistake(
    "projected",
    "values not projected",
    seen="output = weights @ x",
    symptom="w_v gets no gradient; heads give parts of the token itself.",
    fix="Which of your parameters has no gradient?",
)
def _(s: State) -> State:
    return {**project(s), "value_flat": s.values_from}


@MULTI_HEAD.mistake(
    "projected",
    "keys and values made of the queries' side",
    seen="def forward(self, x, memory): q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)",
    symptom="Cross-attention that never looks at the memory.",
    fix="Change the memory: does the output change?",
    needs=("cross",),
    also={"causal": lambda s: _own_length(s)},
)
def _(s: State) -> State:
    return {
        **project(s),
        "key_flat": linear(s.x, s.w_key, s.b_key),
        "value_flat": linear(s.x, s.w_value, s.b_value),
    }


def _own_length(s: State) -> Tensor:
    """As many keys as queries, for they are made of the same tokens."""
    everything = torch.ones(s.q_len, s.q_len, dtype=torch.bool)
    return everything.tril() if s.is_causal else everything


# -- cutting into heads --------------------------------------------------------------------------


@MULTI_HEAD.mistake(
    "split",
    "heads split without transposing",
    seen="q = self.w_q(x).view(B, num_heads, L, head_dim)",
    symptom="Shapes are right and it trains, but a head's row holds pieces of other tokens.",
    fix="In memory a token's numbers lie together. What does view cut them into here?",
    source="jsbaan/transformer-from-scratch#6",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return cut(s, "no transpose")


@MULTI_HEAD.mistake(
    "split",
    "heads cut with the width first",
    seen="q = self.w_q(x).view(B, L, head_dim, num_heads).permute(0, 3, 1, 2)",
    symptom="Trains well from nothing; a checkpoint that is loaded gives nonsense.",
    fix="Are the numbers of one head neighbours, or every h-th?",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return cut(s, "width first")


@MULTI_HEAD.mistake(
    "split",
    "one head instead of several",
    seen="scores = self.w_q(x) @ self.w_k(x).transpose(-2, -1)  # num_heads is never used",
    symptom="One pattern of attention in each layer; num_heads changes nothing.",
    fix="Where does num_heads enter?",
    needs=("num_heads",),
    values=("embed_dim", "head_dim"),
    also={"scaled": lambda s, width: s.scores / math.sqrt(getattr(s, width))},
)
def _(s: State, width: str) -> State:
    return {side: getattr(s, f"{side}_flat")[:, None] for side in SIDES}


@MULTI_HEAD.mistake(
    "split",
    "every head reads the first head's queries",
    seen="for h in range(num_heads): scores = q[:, 0] @ k[:, h].transpose(-2, -1)",
    symptom="Heads are more alike than they should be.",
    fix="Which index runs over the heads, and is it used everywhere?",
    needs=("num_heads",),
)
def _(s: State) -> State:
    made = cut(s, "heads first")
    return {**made, "query": made["query"][:, :1].expand_as(made["query"])}


# -- merging -------------------------------------------------------------------------------------


@MULTI_HEAD.mistake(
    "merged",
    "heads merged without transposing",
    seen="context.reshape(B, L, num_heads * head_dim)  # context is [B, H, L, D]",
    symptom="Shapes are right and it trains, but tokens get pieces of other tokens' results.",
    fix="Heads stand before tokens here. What must be last but one before they are joined?",
    source="jsbaan/transformer-from-scratch#6, ajhalthor/Transformer-Neural-Network#4",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return s.context.reshape(s.context.shape[0], s.context.shape[2], -1)


@MULTI_HEAD.mistake(
    "merged",
    "heads merged with the width first",
    seen="context.permute(0, 2, 3, 1).flatten(2)",
    symptom="W_O meets the numbers in another order; loaded weights give nonsense.",
    fix="Should the numbers of one head be neighbours after merging?",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return s.context.permute(0, 2, 3, 1).flatten(2)


@MULTI_HEAD.mistake(
    "merged",
    "heads merged in reverse order",
    seen="torch.cat(heads[::-1], dim=-1)",
    symptom="W_O meets the numbers in another order; loaded weights give nonsense.",
    fix="Which head's numbers come first?",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return s.context.flip(1).transpose(1, 2).flatten(2)


# -- output projection ---------------------------------------------------------------------------


@MULTI_HEAD.mistake(
    "output",
    "output projection forgotten",
    seen="return context.transpose(1, 2).flatten(2)  # self.w_o is never called",
    symptom="Heads never mix; w_o gets no gradient.",
    fix="Which of your parameters has no gradient?",
    needs=("output_width",),
)
def _(s: State) -> State:
    return s.merged


@MULTI_HEAD.mistake(
    "output",
    "output projection transposed",
    seen="return context @ self.w_o.weight",
    symptom="No error where embed_dim is as wide as all heads; loaded weights give nonsense.",
    fix="nn.Linear keeps [out, in]. Which axis of the weight meets the context?",
    needs=("output_width",),
)
def _(s: State) -> State:
    return s.merged @ s.w_output + _bias(s, "output")


@MULTI_HEAD.mistake(
    "output",
    "output bias forgotten",
    seen="return F.linear(context, self.w_o.weight)",
    symptom="Right as long as the bias is 0, as it is at the start in many libraries.",
    fix="What else does nn.Linear add?",
    needs=("output_width",),
)
def _(s: State) -> State:
    return s.merged @ s.w_output.T


@MULTI_HEAD.mistake(
    "output",
    "input added to the output",
    seen="return x + self.w_o(context)",
    symptom="The residual connection is there twice once the block adds its own.",
    fix="Is the way around attention a matter of attention or of the block?",
)
def _(s: State) -> State:
    right = s.merged if s.w_output is None else linear(s.merged, s.w_output, s.b_output)
    return s.x + right
