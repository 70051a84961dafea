"""Exercise 5: scores for all sentences and all heads at once."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Real models look at several sentences at once (the batch) and with several heads at once.
Query and key then have four axes, [batch, num_heads, length, head_dim], and the lookup of
exercise 1 must happen for each sentence and head by itself. Nothing may leak from one head to
another.

The `.T` of exercise 1 turns all axes round. Only the last two are to be swapped.
"""

# --- your file
import torch
from torch import Tensor


def scores(query: Tensor, key: Tensor) -> Tensor:
    """The dot products of every query with every key, in each head.

    Shapes:
        query [batch, num_heads, q_len, head_dim], key [batch, num_heads, kv_len, head_dim]
        -> [batch, num_heads, q_len, kv_len]

    >>> scores(torch.ones(2, 3, 4, 5), torch.ones(2, 3, 6, 5)).shape
    torch.Size([2, 3, 4, 6])
    """
    # solution
    return query @ key.transpose(-2, -1)
    # end


# --- end of your file


def probes(draw: Draw) -> list[Probe]:
    """All sizes differ; then as many queries as keys, where a wrong side stays unseen."""
    return [
        Probe((draw(2, 3, 5, 5), draw(2, 3, 5, 5))),
        Probe((draw(2, 3, 4, 5), draw(2, 3, 6, 5))),
    ]


exercise = Exercise(
    title="Scores in every head",
    function="scores",
    solution=scores,
    minutes=10,
    difficulty=1,
    story=STORY,
    hints=(
        "A @ B multiplies the last two axes and keeps those before them.",
        "key must become [batch, num_heads, head_dim, kv_len]. Which two axes change places?",
        "key.transpose(-2, -1) swaps the last two; then query @ that.",
    ),
    probes=probes,
    axes=("batch", "head", "query", "key"),
    mistakes=(
        Mistake(
            "query times key without a transpose",
            lambda query, key: query @ key,
            "It runs when head_dim happens to equal kv_len. Which axis should be summed over?",
        ),
        Mistake(
            "the scores of the queries with themselves (QQᵀ)",
            lambda query, key: query @ query.mT,
            "Where does the key come in?",
        ),
        Mistake(
            "the scores transposed: rows are keys",
            lambda query, key: key @ query.mT,
            "Which of the two should the rows count?",
        ),
        Mistake(
            "the scores summed over the heads",
            lambda query, key: (
                (query @ key.mT).sum(1, keepdim=True).expand(-1, key.shape[1], -1, -1)
            ),
            "Which letters of your einsum are left out on the right?",
        ),
    ),
)
