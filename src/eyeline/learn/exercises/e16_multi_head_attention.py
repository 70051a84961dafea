"""Exercise 16: multi-head attention."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Everything comes together: project, split into heads, attend, merge, and one more matrix, W_O,
that mixes what the heads have found. This is the layer that every Transformer is made of, and
when it passes it runs inside a real one.

The weights come in a dict: w_q, w_k, w_v, w_o [embed_dim, embed_dim] as torch.nn.Linear
stores them (x Wᵀ + b), and the biases b_q, b_k, b_v, b_o.
"""

# --- your file
import math

import torch
from torch import Tensor


def multi_head_attention(x: Tensor, weights: dict[str, Tensor], num_heads: int) -> Tensor:
    """Self-attention with several heads.

    Shapes:
        x [batch, length, embed_dim] -> [batch, length, embed_dim]

    >>> eye, none = torch.eye(4), torch.zeros(4)
    >>> weights = {f"w_{name}": eye for name in "qkvo"} | {f"b_{name}": none for name in "qkvo"}
    >>> multi_head_attention(torch.ones(1, 3, 4), weights, num_heads=2)[0, 0]
    tensor([1., 1., 1., 1.])
    """
    # solution
    batch, length, embed_dim = x.shape
    head_dim = embed_dim // num_heads

    def heads(name: str) -> Tensor:
        made = x @ weights[f"w_{name}"].T + weights[f"b_{name}"]
        return made.reshape(batch, length, num_heads, head_dim).transpose(1, 2)

    query, key, value = heads("q"), heads("k"), heads("v")
    scores = query @ key.transpose(-2, -1) / math.sqrt(head_dim)
    output = torch.softmax(scores, dim=-1) @ value
    merged = output.transpose(1, 2).reshape(batch, length, embed_dim)
    return merged @ weights["w_o"].T + weights["b_o"]
    # end


# --- end of your file


def _variant(
    x: Tensor,
    weights: dict[str, Tensor],
    num_heads: int,
    *,
    scale: float | None = None,
    softmax_over: int = -1,
    split: bool = True,
    merge: bool = True,
    out: bool = True,
    out_bias: bool = True,
    transposed: bool = False,
) -> Tensor:
    batch, length, embed_dim = x.shape
    width = embed_dim // num_heads

    def linear(y: Tensor, name: str) -> Tensor:
        weight = weights[f"w_{name}"]
        return y @ (weight if transposed else weight.T) + weights[f"b_{name}"]

    def heads(name: str) -> Tensor:
        made = linear(x, name)
        if not split:
            return made.reshape(batch, num_heads, length, width)
        return made.reshape(batch, length, num_heads, width).transpose(1, 2)

    query, key, value = map(heads, "qkv")
    scores = query @ key.mT * (1 / math.sqrt(width) if scale is None else scale)
    output = scores.softmax(softmax_over) @ value
    output = (output.transpose(1, 2) if merge else output).reshape(batch, length, embed_dim)
    if not out:
        return output
    return linear(output, "o") if out_bias else linear(output, "o") - weights["b_o"]


def probes(draw: Draw) -> list[Probe]:
    """Batch, length, heads and width of a head all differ; W_O is nothing special."""

    def made(width: int) -> dict[str, Tensor]:
        matrices = {f"w_{n}": draw(width, width, scale=width**-0.5) for n in "qkvo"}
        return matrices | {f"b_{n}": draw(width, scale=0.3) for n in "qkvo"}

    return [Probe((draw(2, 5, 12), made(12), 3)), Probe((draw(3, 4, 10), made(10), 2))]


exercise = Exercise(
    title="Multi-head attention",
    function="multi_head_attention",
    solution=multi_head_attention,
    minutes=20,
    difficulty=2,
    story=STORY,
    hints=(
        "The order: exercise 4, 14 (three times), 8, 15, then W_O. Write one line for each.",
        "The scale is the root of the width of one head: embed_dim / num_heads.",
        "heads = (x @ W.T + b).reshape(batch, length, num_heads, head_dim).transpose(1, 2) "
        "for q, k, "
        "v; then attention; then .transpose(1, 2).reshape(x.shape); then @ w_o.T + b_o.",
    ),
    probes=probes,
    axes=("batch", "position", "embed_dim"),
    without=("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"),
    mistakes=(
        Mistake(
            "multi-head attention without W_O",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, out=False),
            "Who mixes what the heads have found?",
        ),
        Mistake(
            "multi-head attention without the bias of W_O",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, out_bias=False),
            "Is one of the eight entries of the dict unused?",
        ),
        Mistake(
            "one head of the whole width",
            lambda x, weights, num_heads: _variant(x, weights, 1),
            "Where does num_heads come in?",
        ),
        Mistake(
            "scores divided by √embed_dim instead of √head_dim",
            lambda x, weights, num_heads: _variant(
                x, weights, num_heads, scale=x.shape[-1] ** -0.5
            ),
            "How wide is one head?",
        ),
        Mistake(
            "multi-head attention without scaling",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, scale=1.0),
            "What was exercise 6 about?",
        ),
        Mistake(
            "softmax over the queries",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, softmax_over=-2),
            "Who shares attention out: the query or the key?",
        ),
        Mistake(
            "softmax over the heads",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, softmax_over=1),
            "Who shares attention out, and over what?",
        ),
        Mistake(
            "heads merged without moving them back",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, merge=False),
            "What was exercise 15 about?",
        ),
        Mistake(
            "heads split without transpose",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, split=False),
            "What was exercise 14 about? The shape afterwards is the same.",
        ),
        Mistake(
            "heads split and merged without transpose",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, split=False, merge=False),
            "What were exercises 14 and 15 about? The shapes are the same.",
        ),
        Mistake(
            "x W + b: the weights were not transposed",
            lambda x, weights, num_heads: _variant(x, weights, num_heads, transposed=True),
            "How does torch.nn.Linear store its matrix?",
        ),
    ),
)
