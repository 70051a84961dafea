"""Exercise 27: the gradient of attention, by hand."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Training sends gradients backwards through attention. With P = softmax(S), S = Q Kᵀ / √d, O =
P V and dO the gradient that arrives:

    dV = Pᵀ dO
    dP = dO Vᵀ
    dS = P * (dP - rowsum(P * dP))
    dQ = dS K / √d,   dK = dSᵀ Q / √d

The third line is softmax's Jacobian: raising one score lowers all other weights of the row,
and that is what the subtracted row sum says. Without autograd, please.
"""

# --- your file
import math

import torch
from torch import Tensor


def attention_backward(
    query: Tensor, key: Tensor, value: Tensor, grad_output: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value.

    Shapes:
        query [q_len, head_dim], key [kv_len, head_dim], value [kv_len, value_dim],
        grad_output [q_len, value_dim] -> as query, key, value

    >>> one = torch.ones(1, 4)
    >>> attention_backward(one, one, one, 2 * one)[2]
    tensor([[2., 2., 2., 2.]])
    """
    # solution
    scale = 1 / math.sqrt(query.shape[-1])
    weights = torch.softmax(query @ key.T * scale, dim=-1)
    grad_weights = grad_output @ value.T
    row = (weights * grad_weights).sum(dim=-1, keepdim=True)
    grad_scores = weights * (grad_weights - row)
    return grad_scores @ key * scale, grad_scores.T @ query * scale, weights.T @ grad_output
    # end


# --- end of your file


def _variant(
    query, key, value, grad, *, row: int | None = -1, scaled=True, forward=True, chain=True
):
    scale = 1 / math.sqrt(query.shape[-1])
    weights = (query @ key.T * (scale if forward else 1)).softmax(-1)
    d_weights = grad @ value.T
    taken = (weights * d_weights).sum(row, keepdim=True) if row is not None else 0
    d_scores = weights * (d_weights - taken) if chain else d_weights - taken
    back = scale if scaled else 1
    return d_scores @ key * back, d_scores.T @ query * back, weights.T @ grad


def _diagonal(query, key, value, grad):
    scale = 1 / math.sqrt(query.shape[-1])
    weights = (query @ key.T * scale).softmax(-1)
    d_scores = weights * (1 - weights) * (grad @ value.T)
    return d_scores @ key * scale, d_scores.T @ query * scale, weights.T @ grad


def probes(draw: Draw) -> list[Probe]:
    """All sizes differ."""
    return [
        Probe((draw(3, 8), draw(5, 8), draw(5, 4), draw(3, 4))),
        Probe((draw(4, 6), draw(2, 6), draw(2, 3), draw(4, 3))),
    ]


exercise = Exercise(
    title="Attention's backward pass",
    function="attention_backward",
    solution=attention_backward,
    minutes=25,
    difficulty=3,
    story=STORY,
    hints=(
        "Make the weights again, as forward did. Then translate the formulas line by line.",
        "The shapes guide you: dP is [q_len, kv_len] like P, dQ is like Q.",
        "row = (weights * grad_weights).sum(dim=-1, keepdim=True); "
        "grad_scores = weights * (grad_weights - row).",
    ),
    probes=probes,
    without=("backward", "grad", "autograd", "vjp", "jacrev", "vmap"),
    mistakes=(
        Mistake(
            "a softmax Jacobian without its outer product: P * dP",
            lambda *call: _variant(*call, row=None),
            "When one weight rises, what do the others of its row do?",
        ),
        Mistake(
            "a softmax Jacobian that is diagonal: P (1 - P) dP",
            _diagonal,
            "That is a sigmoid's derivative. Do the other scores of the row not matter?",
        ),
        Mistake(
            "a row sum taken over the queries",
            lambda *call: _variant(*call, row=0),
            "Over which axis did softmax normalise?",
        ),
        Mistake(
            "gradients of query and key without the scale",
            lambda *call: _variant(*call, scaled=False),
            "The scores were divided by √d on the way there. And on the way back?",
        ),
        Mistake(
            "a forward pass without scaling",
            lambda *call: _variant(*call, forward=False),
            "With which scores were the weights made?",
        ),
        Mistake(
            "a softmax Jacobian that is not multiplied with the weights",
            lambda *call: _variant(*call, chain=False),
            "Can a key with weight 0 receive a gradient?",
        ),
    ),
)
