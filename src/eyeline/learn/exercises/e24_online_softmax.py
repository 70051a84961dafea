"""Exercise 24: attention without the table of weights."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
A table of weights for 100,000 tokens has ten billion entries. FlashAttention never makes it:
it walks over the keys block by block and keeps, for each query, three things only: the
largest score so far, the sum of exp(score - largest), and the weighted sum of values.

The trick: when a block brings a larger score, everything summed so far was made with the
wrong maximum. It is mended by one factor, exp(old maximum - new maximum), for the sum *and*
for the output.
"""

# --- your file
import math

import torch
from torch import Tensor


def online_attention(query: Tensor, key: Tensor, value: Tensor, block: int) -> Tensor:
    """Attention, computed from blocks of keys; softmax of a whole row is never made.

    Shapes:
        query [q_len, head_dim], key [kv_len, head_dim], value [kv_len, value_dim]
        -> [q_len, value_dim]

    >>> query, key = torch.ones(1, 4), torch.ones(3, 4)
    >>> online_attention(query, key, torch.tensor([[1.], [2.], [6.]]), block=2)
    tensor([[3.]])
    """
    # solution
    q_len, head_dim = query.shape
    largest = torch.full((q_len, 1), -torch.inf, dtype=query.dtype)
    total = torch.zeros(q_len, 1, dtype=query.dtype)
    output = torch.zeros(q_len, value.shape[-1], dtype=query.dtype)
    for start in range(0, key.shape[0], block):
        scores = query @ key[start : start + block].T / math.sqrt(head_dim)
        new_largest = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))
        powers = torch.exp(scores - new_largest)
        mend = torch.exp(largest - new_largest)
        total = total * mend + powers.sum(dim=-1, keepdim=True)
        output = output * mend + powers @ value[start : start + block]
        largest = new_largest
    return output / total
    # end


# --- end of your file


def _variant(query, key, value, block, *, mend_sum=True, mend_output=True, drop_last=False, d=None):
    largest = torch.full((len(query), 1), -torch.inf, dtype=query.dtype)
    total, output = torch.zeros_like(largest), query.new_zeros(len(query), value.shape[-1])
    end = len(key) // block * block if drop_last else len(key)
    for start in range(0, end, block):
        part = slice(start, min(start + block, end))
        scores = query @ key[part].T / math.sqrt(query.shape[-1] if d is None else d)
        new = torch.maximum(largest, scores.amax(-1, keepdim=True))
        powers, mend = torch.exp(scores - new), torch.exp(largest - new)
        total = (total * mend if mend_sum else total) + powers.sum(-1, keepdim=True)
        output = (output * mend if mend_output else output) + powers @ value[part]
        largest = new
    return output / total


def _averaged(query: Tensor, key: Tensor, value: Tensor, block: int) -> Tensor:
    parts = zip(key.split(block), value.split(block), strict=True)
    outputs = [(query @ k.T / math.sqrt(query.shape[-1])).softmax(-1) @ v for k, v in parts]
    return torch.stack(outputs).mean(0)


def _unsafe(query: Tensor, key: Tensor, value: Tensor, block: int) -> Tensor:
    powers = torch.exp(query @ key.T / math.sqrt(query.shape[-1]))
    return powers @ value / powers.sum(-1, keepdim=True)


def probes(draw: Draw) -> list[Probe]:
    """A last block that is not full; scores that grow from block to block, and overflow."""
    grow = torch.arange(1.0, 10.0, dtype=torch.float64)[:, None]
    return [
        Probe((draw(3, 8), draw(7, 8), draw(7, 5), 3)),
        Probe((draw(4, 6, scale=20), draw(9, 6, scale=20) * grow, draw(9, 2), 2)),
    ]


exercise = Exercise(
    title="Online softmax",
    function="online_attention",
    solution=online_attention,
    minutes=30,
    difficulty=3,
    story=STORY,
    hints=(
        "Before the loop: largest = -inf, total = 0, output = 0 for each query. In the "
        "loop: scores of "
        "this block, new maximum, powers, and then mend what was there before.",
        "mend = exp(largest - new_largest). It is 1 when the maximum did not change, and "
        "exp(-inf) = 0 "
        "in the first block.",
        "total = total * mend + powers.sum(...); output = output * mend + powers @ value[block]; "
        "divide once, at the end.",
    ),
    probes=probes,
    axes=("query", "value_dim"),
    without=("softmax", "log_softmax", "scaled_dot_product_attention", "logsumexp"),
    mistakes=(
        Mistake(
            "an output that is not mended when the maximum grows",
            lambda *call: _variant(*call, mend_output=False),
            "The sum is mended. What else was made with the old maximum?",
        ),
        Mistake(
            "a sum that is not mended when the maximum grows",
            lambda *call: _variant(*call, mend_sum=False),
            "The output is mended. What else was made with the old maximum?",
        ),
        Mistake(
            "neither sum nor output mended when the maximum grows",
            lambda *call: _variant(*call, mend_sum=False, mend_output=False),
            "With which maximum were the earlier blocks made?",
        ),
        Mistake(
            "the average of the blocks' attentions",
            _averaged,
            "Does a block with small scores count as much as one with large scores?",
        ),
        Mistake(
            "exp of the scores without subtracting a maximum: it overflows",
            _unsafe,
            "What was exercise 2 about?",
        ),
        Mistake(
            "a last block that is left out when it is not full",
            lambda *call: _variant(*call, drop_last=True),
            "7 keys in blocks of 3: how many blocks are there?",
        ),
        Mistake(
            "online attention without scaling",
            lambda *call: _variant(*call, d=1),
            "What was exercise 6 about?",
        ),
    ),
)
