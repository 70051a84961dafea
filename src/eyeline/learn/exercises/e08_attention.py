"""Exercise 8: scaled dot-product attention."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
This is the equation of the paper (Vaswani et al. 2017, equation 1):

    Attention(Q, K, V) = softmax(Q Kᵀ / √d) V

You have written each part. Values may have a width of their own.
"""

# --- your file
import math

import torch
from torch import Tensor


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention.

    Shapes:
        query [batch, num_heads, q_len, head_dim], key [batch, num_heads, kv_len, head_dim],
        value [batch, num_heads, kv_len, value_dim] -> [batch, num_heads, q_len, value_dim]

    >>> query, key = torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4)
    >>> attention(query, key, torch.tensor([[[[0.], [4.]]]]))
    tensor([[[[2.],
              [2.]]]])
    """
    # solution
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.softmax(scores, dim=-1) @ value
    # end


# --- end of your file


def _scores(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.mT / math.sqrt(query.shape[-1])


def probes(draw: Draw) -> list[Probe]:
    """Square, where a wrong axis stays unseen; then all sizes different, value_dim too."""
    return [
        Probe((draw(2, 3, 5, 4), draw(2, 3, 5, 4), draw(2, 3, 5, 4))),
        Probe((draw(2, 3, 4, 8), draw(2, 3, 6, 8), draw(2, 3, 6, 5)), grad=True),
    ]


exercise = Exercise(
    title="Scaled dot-product attention",
    function="attention",
    solution=attention,
    minutes=10,
    difficulty=1,
    story=STORY,
    hints=(
        "The weights of exercise 7, then the weighted sum of exercise 3.",
        "Both work on the last two axes; the ones before them look after themselves.",
        "torch.softmax(scores, dim=-1) @ value",
    ),
    probes=probes,
    axes=("batch", "head", "query", "value_dim"),
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    examine={"what": "attention", "layout": "BHLD"},
    mistakes=(
        Mistake(
            "attention without scaling",
            lambda query, key, value: (query @ key.mT).softmax(-1) @ value,
            "What was exercise 6 about?",
        ),
        Mistake(
            "attention with scores divided by √embed_dim (num_heads · head_dim)",
            lambda query, key, value: (
                (query @ key.mT / math.sqrt(query.shape[1] * query.shape[-1])).softmax(-1) @ value
            ),
            "How wide is one head?",
        ),
        Mistake(
            "attention with softmax over the queries",
            lambda query, key, value: _scores(query, key).softmax(-2) @ value,
            "Who shares attention out: the query or the key?",
        ),
        Mistake(
            "attention with softmax over the heads",
            lambda query, key, value: _scores(query, key).softmax(1) @ value,
            "dim=1 is the second axis. Which one counts the keys?",
        ),
        Mistake(
            "attention with softmax over the batch",
            lambda query, key, value: _scores(query, key).softmax(0) @ value,
            "dim=0 is the batch. Which axis counts the keys?",
        ),
        Mistake(
            "attention without softmax",
            lambda query, key, value: _scores(query, key) @ value,
            "Do the weights sum to 1?",
        ),
        Mistake(
            "the keys read instead of the values",
            lambda query, key, value: _scores(query, key).softmax(-1) @ key,
            "Found by the key; but what is read?",
        ),
        Mistake(
            "the value with the largest weight only",
            lambda query, key, value: value.gather(
                -2,
                _scores(query, key).argmax(-1)[..., None].expand(*query.shape[:3], value.shape[-1]),
            ),
            "A soft lookup mixes. What should a weight of 0.4 contribute?",
        ),
        Mistake(
            "the average of the values",
            lambda query, key, value: (_scores(query, key) * 0).softmax(-1) @ value,
            "Does the output depend on the query?",
        ),
    ),
)
