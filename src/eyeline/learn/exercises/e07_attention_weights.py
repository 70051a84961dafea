"""Exercise 7: from query and key to the attention weights."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Now put the two together: scaled scores, then softmax over the *keys*. Row i says how query i
shares its attention out: every row sums to 1. This table is what everybody draws when they
draw attention.

From here on you may use torch.softmax: you know what is inside.
"""

# --- your file
import math

import torch
from torch import Tensor


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """How each query shares its attention out over the keys.

    Shapes:
        query [batch, num_heads, q_len, head_dim], key [batch, num_heads, kv_len, head_dim]
        -> [batch, num_heads, q_len, kv_len], each row sums to 1

    >>> attention_weights(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 4, 4))
    tensor([[[[0.2500, 0.2500, 0.2500, 0.2500]]]])
    """
    # solution
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.softmax(scores, dim=-1)
    # end


# --- end of your file


def _scores(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.mT / math.sqrt(query.shape[-1])


def probes(draw: Draw) -> list[Probe]:
    """Scores with a standard deviation of about 1: a saturated softmax hides mistakes."""
    return [
        Probe((draw(2, 3, 4, 8), draw(2, 3, 5, 8))),
        Probe((draw(4, 2, 6, 3), draw(4, 2, 3, 3))),
    ]


exercise = Exercise(
    title="Attention weights",
    function="attention_weights",
    solution=attention_weights,
    minutes=5,
    difficulty=1,
    story=STORY,
    hints=(
        "Two lines: the scaled scores of exercise 6, then softmax.",
        "Which axis of [batch, num_heads, q_len, kv_len] counts the keys?",
        "torch.softmax(scores, dim=-1)",
    ),
    probes=probes,
    axes=("batch", "head", "query", "key"),
    mistakes=(
        Mistake(
            "softmax over the queries",
            lambda query, key: _scores(query, key).softmax(-2),
            "Sum over the last axis: is it 1? Who shares attention out, the query or the key?",
        ),
        Mistake(
            "softmax over the heads",
            lambda query, key: _scores(query, key).softmax(1),
            "dim=1 is the second axis. Which one counts the keys?",
        ),
        Mistake(
            "softmax over the batch",
            lambda query, key: _scores(query, key).softmax(0),
            "dim=0 is the batch: sentences would compete with each other. Which axis are the keys?",
        ),
        Mistake(
            "softmax applied twice",
            lambda query, key: _scores(query, key).softmax(-1).softmax(-1),
            "The weights are nearly equal everywhere. How often does softmax stand there?",
        ),
        Mistake(
            "a sigmoid instead of softmax",
            lambda query, key: _scores(query, key).sigmoid(),
            "Do the rows sum to 1?",
        ),
        Mistake(
            "attention weights without scaling",
            lambda query, key: (query @ key.mT).softmax(-1),
            "What was exercise 6 about?",
        ),
        Mistake(
            "weights divided by √head_dim after softmax",
            lambda query, key: (query @ key.mT).softmax(-1) / math.sqrt(query.shape[-1]),
            "Do the rows still sum to 1? Where does the scaling belong?",
        ),
        Mistake(
            "scores divided by their sum, without exp",
            lambda query, key: _scores(query, key) / _scores(query, key).sum(-1, keepdim=True),
            "Can a weight be negative?",
        ),
    ),
)
