"""Exercise 12: a query that may see nothing."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Masks combine, and sometimes nothing is left: a padded query, an empty document. Then the
whole row is -inf, softmax divides 0 by 0, and one NaN spreads through the model at the next
layer.

The answer of such a row shall be exactly 0, and its gradient too. Mind the gradient: where
-inf was *added* to the scores, replacing NaN afterwards leaves NaN in the backward pass.
"""

# --- your file
import math

import torch
from torch import Tensor


def masked_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor) -> Tensor:
    """Attention under a mask; a query that may see nothing gets exactly 0.

    Shapes:
        query [batch, num_heads, q_len, head_dim], key [batch, num_heads, kv_len, head_dim],
        value [batch, num_heads, kv_len, value_dim],
        attn_mask bool [batch, 1, q_len, kv_len], True = may look
        -> [batch, num_heads, q_len, value_dim]

    >>> ones, value = torch.ones(1, 1, 2, 4), torch.tensor([[[[1.], [3.]]]])
    >>> mask = torch.tensor([[[[True, True], [False, False]]]])
    >>> masked_attention(ones, ones, value, mask).flatten()
    tensor([2., 0.])
    """
    # solution
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    sees_something = attn_mask.any(dim=-1, keepdim=True)
    scores = scores.masked_fill(~attn_mask & sees_something, -torch.inf)
    return torch.softmax(scores, dim=-1) * sees_something @ value
    # end


# --- end of your file


def _filled(query: Tensor, key: Tensor, attn_mask: Tensor, fill: float) -> Tensor:
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return scores.masked_fill(~attn_mask, fill).softmax(-1)


def _added(query: Tensor, key: Tensor, attn_mask: Tensor) -> Tensor:
    bias = torch.zeros(attn_mask.shape, dtype=query.dtype).masked_fill(~attn_mask, -math.inf)
    return (query @ key.mT / math.sqrt(query.shape[-1]) + bias).softmax(-1)


def probes(draw: Draw) -> list[Probe]:
    """One row sees nothing, one sees everything, the others some keys."""
    mask = draw.flags(2, 1, 4, 5, share=0.6)
    mask[..., 0, :] = True
    mask[..., 1, 0] = True
    mask[0, 0, 2], mask[1, 0, 3] = False, False
    mask[0, 0, 3, 1], mask[1, 0, 2, 4] = True, True
    return [Probe((draw(2, 3, 4, 8), draw(2, 3, 5, 8), draw(2, 3, 5, 6), mask), grad=True)]


exercise = Exercise(
    title="Rows that see nothing",
    function="masked_attention",
    solution=masked_attention,
    minutes=15,
    difficulty=3,
    story=STORY,
    hints=(
        "Which rows are they? attn_mask.any(dim=-1, keepdim=True) is False there.",
        "Never let softmax see a row of nothing but -inf: leave the scores of those rows "
        "alone, and "
        "make their weights 0 afterwards.",
        "Mask with ~attn_mask & sees_something, then multiply the weights with sees_something.",
    ),
    probes=probes,
    axes=("batch", "head", "query", "value_dim"),
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    # what the docstring says; what is stated need not be tried
    examine={
        "what": "attention",
        "layout": "BHLD",
        "mask": "attend",
        "causal": False,
        "empty_rows": "zero",
    },
    mistakes=(
        Mistake(
            "attention that gives NaN where a row sees nothing",
            lambda query, key, value, attn_mask: _filled(query, key, attn_mask, -math.inf) @ value,
            "What is softmax of a row of -inf?",
        ),
        Mistake(
            "the right output with NaN gradients: -inf was added, NaN replaced afterwards",
            lambda query, key, value, attn_mask: (
                _added(query, key, attn_mask).nan_to_num(0.0) @ value
            ),
            "The NaN was replaced after softmax. What does softmax's backward multiply with?",
        ),
        Mistake(
            "the average of the values where a row sees nothing (scores of -1e9)",
            lambda query, key, value, attn_mask: _filled(query, key, attn_mask, -1e9) @ value,
            "If all scores of a row are -1e9, which one is the largest?",
        ),
        Mistake(
            "attention in which a row that sees nothing sees everything",
            lambda query, key, value, attn_mask: (
                _filled(query, key, attn_mask | ~attn_mask.any(-1, keepdim=True), -math.inf) @ value
            ),
            "Those rows no longer give NaN. What should they give?",
        ),
        Mistake(
            "an inverted mask",
            lambda query, key, value, attn_mask: _filled(query, key, ~attn_mask, -math.inf) @ value,
            "True means: may look. Which scores become -inf?",
        ),
    ),
)
