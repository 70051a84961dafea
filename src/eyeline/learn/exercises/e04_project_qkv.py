"""Exercise 4: query, key and value are three projections of the same tokens."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Where do query, key and value come from? From the same token vectors, through three learned
matrices: what a token looks for, what it offers to be found by, and what it gives when it is
found are three different things.

Checkpoints store these matrices as torch.nn.Linear does: weight is [out_features,
in_features], and the layer computes x Wᵀ + b.
"""

# --- your file
import torch
from torch import Tensor


def project_qkv(
    x: Tensor, w_q: Tensor, b_q: Tensor, w_k: Tensor, b_k: Tensor, w_v: Tensor, b_v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of every token.

    Shapes:
        x [batch, length, embed_dim], weights [out_features, embed_dim], biases [out_features]
        -> three of [batch, length, out_features]

    >>> x, w = torch.tensor([[[1., 2.]]]), torch.tensor([[0., 1.], [0., 0.]])
    >>> query, key, value = project_qkv(x, w, torch.zeros(2), w, torch.ones(2), -w, torch.zeros(2))
    >>> query
    tensor([[[2., 0.]]])
    >>> key
    tensor([[[3., 1.]]])
    """
    # solution
    return x @ w_q.T + b_q, x @ w_k.T + b_k, x @ w_v.T + b_v
    # end


# --- end of your file


def probes(draw: Draw) -> list[Probe]:
    """Square weights, where a forgotten transpose stays unseen; then weights that are not "
    "square.
    """
    square = [draw(4, 4) if i % 2 == 0 else draw(4) for i in range(6)]
    narrow = [draw(3, 5) if i % 2 == 0 else draw(3) for i in range(6)]
    return [Probe((draw(2, 3, 4), *square)), Probe((draw(2, 6, 5), *narrow))]


def _linear(x: Tensor, weight: Tensor, bias: Tensor | float) -> Tensor:
    return x @ weight.T + bias


exercise = Exercise(
    title="Project tokens to query, key and value",
    function="project_qkv",
    solution=project_qkv,
    minutes=10,
    difficulty=1,
    story=STORY,
    hints=(
        "One projection is x @ W.T + b. The last axis of x meets the last axis of W.",
        "The same x goes into all three, each with its own weight and bias.",
        "return x @ w_q.T + b_q, and the same for k and v, in this order.",
    ),
    probes=probes,
    mistakes=(
        Mistake(
            "x W + b: the weights were not transposed",
            lambda x, w_q, b_q, w_k, b_k, w_v, b_v: (x @ w_q + b_q, x @ w_k + b_k, x @ w_v + b_v),
            "Which axis of the weight is embed_dim? With a square matrix nothing complains.",
        ),
        Mistake(
            "projections without their biases",
            lambda x, w_q, b_q, w_k, b_k, w_v, b_v: (x @ w_q.T, x @ w_k.T, x @ w_v.T),
            "What are b_q, b_k and b_v for?",
        ),
        Mistake(
            "key and query in each other's place",
            lambda x, w_q, b_q, w_k, b_k, w_v, b_v: (
                _linear(x, w_k, b_k),
                _linear(x, w_q, b_q),
                _linear(x, w_v, b_v),
            ),
            "In which order does the caller expect the three?",
        ),
        Mistake(
            "the query's weights used for the key too",
            lambda x, w_q, b_q, w_k, b_k, w_v, b_v: (
                _linear(x, w_q, b_q),
                _linear(x, w_q, b_q),
                _linear(x, w_v, b_v),
            ),
            "Then every token would find itself best. Which weights make the key?",
        ),
        Mistake(
            "the key used as the value",
            lambda x, w_q, b_q, w_k, b_k, w_v, b_v: (
                _linear(x, w_q, b_q),
                _linear(x, w_k, b_k),
                _linear(x, w_k, b_k),
            ),
            "What is found by and what is read are two things. Which weights make the value?",
        ),
    ),
)
