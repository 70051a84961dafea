"""Exercise 1: scores are dot products."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
A dictionary finds a value by a key that matches exactly. Attention finds by *how well* keys
match: each query is a vector, each key is a vector, and the dot product says how much they
point the same way. The large numbers are the good matches.

Write the lookup for all queries and all keys at once: the score of query i with key j stands
in row i, column j.
"""

# --- your file
import torch
from torch import Tensor


def dot_product_scores(query: Tensor, key: Tensor) -> Tensor:
    """How well every key matches every query.

    Shapes:
        query [q_len, head_dim], key [kv_len, head_dim] -> [q_len, kv_len]

    >>> query = torch.tensor([[1., 0.], [0., 2.]])
    >>> key = torch.tensor([[1., 0.], [0., 1.], [1., 1.]])
    >>> dot_product_scores(query, key)
    tensor([[1., 0., 1.],
            [0., 2., 2.]])
    """
    # solution
    return query @ key.T
    # end


# --- end of your file


def probes(draw: Draw) -> list[Probe]:
    """Lengths and width all differ; one query, one key."""
    return [Probe((draw(3, 4), draw(5, 4))), Probe((draw(1, 2), draw(6, 2)))]


exercise = Exercise(
    title="Dot-product lookup",
    function="dot_product_scores",
    solution=dot_product_scores,
    minutes=5,
    difficulty=1,
    story=STORY,
    hints=(
        "One score is sum(query[i] * key[j]) over the width. Which axis do the two share?",
        "A matrix product does all pairs at once: (q_len × d) @ (d × kv_len). What must be turned?",
        "Turn the key on its side: key.T is [head_dim, kv_len]. Then one @ is enough.",
    ),
    probes=probes,
    axes=("query", "key"),
    mistakes=(
        Mistake(
            "the scores transposed: row j is key j",
            lambda query, key: key @ query.T,
            "Which of the two should the rows count, queries or keys?",
        ),
        Mistake(
            "distances instead of dot products",
            lambda query, key: torch.cdist(query, key),
            "A distance is small for a good match. What is large for one?",
        ),
        Mistake(
            "cosine similarity: the lengths of the vectors were divided out",
            lambda query, key: (
                (query / query.norm(dim=-1, keepdim=True))
                @ (key / key.norm(dim=-1, keepdim=True)).T
            ),
            "The dot product keeps how long the vectors are. Did you divide by something?",
        ),
    ),
)
