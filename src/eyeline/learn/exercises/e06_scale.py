"""Exercise 6: why the scores are divided by the root of head_dim."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Add up d products of random numbers with variance 1 and the sum has variance d: with wide
heads the scores grow, softmax turns into "all on one key", and its gradient dies. Dividing
the scores by √head_dim brings the variance back to 1, however wide a head is.

It is the width of *one head*, not of the model, and it happens before softmax.
"""

# --- your file
import math

import torch
from torch import Tensor


def scaled_scores(query: Tensor, key: Tensor) -> Tensor:
    """Scores with a variance that does not depend on the width of a head.

    Shapes:
        query [batch, num_heads, q_len, head_dim], key [batch, num_heads, kv_len, head_dim]
        -> [batch, num_heads, q_len, kv_len]

    >>> scaled_scores(torch.ones(1, 1, 1, 16), torch.ones(1, 1, 2, 16))
    tensor([[[[4., 4.]]]])
    """
    # solution
    return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    # end


# --- end of your file


def probes(draw: Draw) -> list[Probe]:
    """Batch, heads, lengths and width all differ, so that no two roots are the same."""
    return [
        Probe((draw(2, 3, 5, 8), draw(2, 3, 7, 8))),
        Probe((draw(5, 2, 3, 6), draw(5, 2, 4, 6))),
    ]


def _times(factor):
    return lambda query, key: query @ key.mT * factor(query, key)


exercise = Exercise(
    title="Scale the scores",
    function="scaled_scores",
    solution=scaled_scores,
    minutes=5,
    difficulty=1,
    story=STORY,
    hints=(
        "Take the scores of exercise 5 and divide them by one number.",
        "The number is a square root. Which axis of the query is the width of a head?",
        "Divide by math.sqrt(query.shape[-1]), the width of one head.",
    ),
    probes=probes,
    axes=("batch", "head", "query", "key"),
    mistakes=(
        Mistake(
            "scores without scaling",
            _times(lambda q, k: 1),
            "How large is the variance of a sum of 64 products?",
        ),
        Mistake(
            "scores divided by head_dim, not by its root",
            _times(lambda q, k: 1 / q.shape[-1]),
            "The variance grows with head_dim. How does the standard deviation grow?",
        ),
        Mistake(
            "scores divided by √embed_dim (num_heads · head_dim)",
            _times(lambda q, k: 1 / math.sqrt(q.shape[1] * q.shape[-1])),
            "How many products does one dot product add up?",
        ),
        Mistake(
            "scores divided by √num_heads",
            _times(lambda q, k: 1 / math.sqrt(q.shape[1])),
            "Which axis holds the width of a head?",
        ),
        Mistake(
            "scores divided by √kv_len",
            _times(lambda q, k: 1 / math.sqrt(k.shape[-2])),
            "Should the scores of two tokens change when a third is added to the sentence?",
        ),
        Mistake(
            "scores divided by √q_len",
            _times(lambda q, k: 1 / math.sqrt(q.shape[-2])),
            "Should the scores of two tokens change when a third is added to the sentence?",
        ),
        Mistake(
            "scores divided by √batch",
            _times(lambda q, k: 1 / math.sqrt(q.shape[0])),
            "Which axis holds the width of a head?",
        ),
        Mistake(
            "scores multiplied by √head_dim",
            _times(lambda q, k: math.sqrt(q.shape[-1])),
            "Should the numbers become smaller or larger?",
        ),
    ),
)
