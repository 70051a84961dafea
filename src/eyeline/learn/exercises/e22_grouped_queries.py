"""Exercise 22: grouped-query attention."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Keys and values of the past are kept in memory while a model writes, and they take a lot.
Grouped-query attention (Ainslie et al. 2023) keeps fewer of them: several query heads share
one head of keys and values. With 6 query heads and 2 key heads, queries 0, 1, 2 read key head
0 and 3, 4, 5 read key head 1.
"""

# --- your file
import math

import torch
from torch import Tensor


def grouped_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with fewer heads of keys and values than of queries.

    Shapes:
        query [batch, num_heads, q_len, head_dim], key [batch, num_kv_heads, kv_len, head_dim],
        value [batch, num_kv_heads, kv_len, value_dim]; num_heads is a multiple of num_kv_heads
        -> [batch, num_heads, q_len, value_dim]

    >>> query, key = torch.zeros(1, 4, 1, 2), torch.zeros(1, 2, 1, 2)
    >>> grouped_attention(query, key, torch.tensor([[[[1.]], [[2.]]]])).flatten()
    tensor([1., 1., 2., 2.])
    """
    # solution
    group = query.shape[1] // key.shape[1]
    key = key.repeat_interleave(group, dim=1)
    value = value.repeat_interleave(group, dim=1)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.softmax(scores, dim=-1) @ value
    # end


# --- end of your file


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1) @ value


def _with(query: Tensor, key: Tensor, value: Tensor, spread) -> Tensor:
    group = query.shape[1] // key.shape[1]
    return _attend(query, spread(key, group), spread(value, group))


def probes(draw: Draw) -> list[Probe]:
    """Heads that do not divide evenly by 2; one head of keys for all."""
    return [
        Probe((draw(2, 6, 4, 8), draw(2, 2, 5, 8), draw(2, 2, 5, 3))),
        Probe((draw(1, 4, 3, 6), draw(1, 1, 7, 6), draw(1, 1, 7, 6))),
    ]


exercise = Exercise(
    title="Grouped-query attention",
    function="grouped_attention",
    solution=grouped_attention,
    minutes=10,
    difficulty=2,
    story=STORY,
    hints=(
        "Give every query head a key head, then it is exercise 8.",
        "Repeating the heads 0, 1 three times: 0 1 0 1 0 1, or 0 0 0 1 1 1?",
        "key.repeat_interleave(num_heads // num_kv_heads, dim=1), and value alike.",
    ),
    probes=probes,
    axes=("batch", "head", "query", "value_dim"),
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    examine={"what": "grouped attention", "layout": "BHLD"},
    mistakes=(
        Mistake(
            "key heads given out in turn (repeat): queries 0, 2, 4 read head 0",
            lambda query, key, value: _with(
                query, key, value, lambda x, group: x.repeat(1, group, 1, 1)
            ),
            "Which query heads share key head 0?",
        ),
        Mistake(
            "the groups in reverse order",
            lambda query, key, value: _with(
                query, key, value, lambda x, group: x.flip(1).repeat_interleave(group, 1)
            ),
            "Which query heads share key head 0?",
        ),
        Mistake(
            "all query heads read the first key head",
            lambda query, key, value: _attend(query, key[:, :1], value[:, :1]),
            "Are the other key heads used?",
        ),
        Mistake(
            "all query heads read the average of the key heads",
            lambda query, key, value: _attend(query, key.mean(1, True), value.mean(1, True)),
            "Is it one key head for each group, or one for all?",
        ),
        Mistake(
            "grouped keys with the values given out in turn",
            lambda query, key, value: _attend(
                query,
                key.repeat_interleave(query.shape[1] // key.shape[1], 1),
                value.repeat(1, query.shape[1] // key.shape[1], 1, 1),
            ),
            "Do key and value of one query come from the same head?",
        ),
        Mistake(
            "grouped attention without scaling",
            lambda query, key, value: _with(
                query * math.sqrt(query.shape[-1]),
                key,
                value,
                lambda x, group: x.repeat_interleave(group, 1),
            ),
            "What was exercise 6 about?",
        ),
    ),
)
