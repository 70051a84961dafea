"""Exercise 18: cross-attention."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
A translator reads one sentence and writes another. While it writes, each word it has written
so far asks the *source* sentence: the queries are made of one sequence, keys and values of
the other. That is all the difference to exercise 16, and the two lengths need not be the
same.
"""

# --- your file
import math

import torch
from torch import Tensor


def cross_attention(
    x: Tensor, memory: Tensor, weights: dict[str, Tensor], num_heads: int
) -> Tensor:
    """Multi-head attention from x to memory; weights as in exercise 16.

    Shapes:
        x [batch, q_len, embed_dim], memory [batch, kv_len, embed_dim] -> [batch, q_len, embed_dim]

    >>> eye, none = torch.eye(4), torch.zeros(4)
    >>> weights = {f"w_{name}": eye for name in "qkvo"} | {f"b_{name}": none for name in "qkvo"}
    >>> cross_attention(torch.zeros(1, 2, 4), torch.ones(1, 5, 4), weights, num_heads=2).shape
    torch.Size([1, 2, 4])
    """

    def heads(source: Tensor, name: str) -> Tensor:
        made = source @ weights[f"w_{name}"].T + weights[f"b_{name}"]
        return made.reshape(*source.shape[:2], num_heads, -1).transpose(1, 2)

    # solution
    query, key, value = heads(x, "q"), heads(memory, "k"), heads(memory, "v")
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    output = torch.softmax(scores, dim=-1) @ value
    return output.transpose(1, 2).reshape(x.shape) @ weights["w_o"].T + weights["b_o"]
    # end


# --- end of your file


def _from(x: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: dict[str, Tensor], heads: int):
    def made(source: Tensor, name: str) -> Tensor:
        linear = source @ weights[f"w_{name}"].T + weights[f"b_{name}"]
        return linear.reshape(*source.shape[:2], heads, -1).transpose(1, 2)

    query, key, value = made(q, "q"), made(k, "k"), made(v, "v")
    output = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1) @ value
    return output.transpose(1, 2).flatten(2) @ weights["w_o"].T + weights["b_o"]


def probes(draw: Draw) -> list[Probe]:
    """Two sequences of one length, where a mixed-up source stays unseen; then two lengths."""

    def made(width: int) -> dict[str, Tensor]:
        matrices = {f"w_{n}": draw(width, width, scale=width**-0.5) for n in "qkvo"}
        return matrices | {f"b_{n}": draw(width, scale=0.3) for n in "qkvo"}

    return [
        Probe((draw(2, 5, 12), draw(2, 5, 12), made(12), 3)),
        Probe((draw(3, 4, 10), draw(3, 7, 10), made(10), 2)),
    ]


exercise = Exercise(
    title="Cross-attention",
    function="cross_attention",
    solution=cross_attention,
    minutes=10,
    difficulty=2,
    story=STORY,
    hints=(
        "Who asks, and who is asked? Queries come from who asks.",
        'heads(x, "q") for the query. And the key, and the value?',
        'heads(memory, "k") and heads(memory, "v"); the rest is exercise 16, with the length of x.',
    ),
    probes=probes,
    axes=("batch", "position", "embed_dim"),
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    mistakes=(
        Mistake(
            "self-attention: keys and values made of x",
            lambda x, memory, weights, heads: _from(x, x, x, x, weights, heads),
            "Where does the memory come in?",
        ),
        Mistake(
            "self-attention of the memory",
            lambda x, memory, weights, heads: _from(x, memory, memory, memory, weights, heads),
            "Who asks?",
        ),
        Mistake(
            "the two sequences in each other's place",
            lambda x, memory, weights, heads: _from(x, memory, x, x, weights, heads),
            "Who asks, and who is asked?",
        ),
        Mistake(
            "values made of x",
            lambda x, memory, weights, heads: _from(x, x, memory, x, weights, heads),
            "The key is found in the memory. What is read there?",
        ),
        Mistake(
            "keys made of x",
            lambda x, memory, weights, heads: _from(x, x, x, memory, weights, heads),
            "The value is read in the memory. By what is it found?",
        ),
    ),
)
