"""Exercise 9: a token must not see the future."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
A model that writes text is trained on all positions at once: position i predicts token i + 1.
If it could see token i + 1, it would copy it and learn nothing. So query i may look at keys 0
… i only: at itself and what came before.

A score of -inf becomes a weight of exactly 0, and the rest of the row still sums to 1. That
is why the mask is applied *before* softmax.
"""

# --- your file
import math

import torch
from torch import Tensor


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention in which no query sees a later key; as many queries as keys.

    Shapes:
        query, key [batch, num_heads, length, head_dim],
        value [batch, num_heads, length, value_dim] -> [batch, num_heads, length, value_dim]

    >>> ones = torch.ones(1, 1, 3, 4)
    >>> value = torch.tensor([[[[0.], [2.], [7.]]]])
    >>> causal_attention(ones, ones, value).flatten()
    tensor([0.0000, 1.0000, 3.0000])
    """
    # solution
    length = query.shape[-2]
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    may_see = torch.ones(length, length, dtype=torch.bool).tril()
    return torch.softmax(scores.masked_fill(~may_see, -torch.inf), dim=-1) @ value
    # end


# --- end of your file


def _scores(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.mT / math.sqrt(query.shape[-1])


def _lower(query: Tensor, diagonal: int = 0) -> Tensor:
    return torch.ones(query.shape[-2], query.shape[-2], dtype=torch.bool).tril(diagonal)


def _filled(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, fill: float) -> Tensor:
    return _scores(query, key).masked_fill(~seen, fill).softmax(-1) @ value


def _after(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _scores(query, key).softmax(-1).masked_fill(~_lower(query), 0) @ value


def probes(draw: Draw) -> list[Probe]:
    """Every size differs; gradients too, for -inf can make them NaN."""
    return [
        Probe((draw(2, 3, 5, 8), draw(2, 3, 5, 8), draw(2, 3, 5, 4)), grad=True),
        Probe((draw(1, 2, 1, 4), draw(1, 2, 1, 4), draw(1, 2, 1, 3))),
    ]


exercise = Exercise(
    title="The causal mask",
    function="causal_attention",
    solution=causal_attention,
    minutes=15,
    difficulty=2,
    story=STORY,
    hints=(
        "Make a [length, length] table of booleans: True where key j may be seen by query i.",
        "torch.ones(n, n, dtype=torch.bool).tril() is True on and below the diagonal. "
        "What do you do with the scores where it is False?",
        "scores.masked_fill(~may_see, -torch.inf), before softmax.",
    ),
    probes=probes,
    axes=("batch", "head", "query", "value_dim"),
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    examine={"what": "attention", "causal": True, "layout": "BHLD"},
    mistakes=(
        Mistake(
            "attention without a mask",
            lambda query, key, value: _scores(query, key).softmax(-1) @ value,
            "Change the last token: do the outputs of the earlier ones change?",
        ),
        Mistake(
            "an inverted mask: each token sees itself and the future only",
            lambda query, key, value: _filled(query, key, value, ~_lower(query, -1), -math.inf),
            "Does True in your mask mean 'may see' or 'hide'?",
        ),
        Mistake(
            "a mask that hides the past and the token itself",
            lambda query, key, value: _filled(query, key, value, ~_lower(query), -math.inf),
            "Does True in your mask mean 'may see' or 'hide'? Look at the last row.",
        ),
        Mistake(
            "a mask that hides the token itself",
            lambda query, key, value: _filled(query, key, value, _lower(query, -1), -math.inf),
            "May a token see itself? What is left for the first one?",
        ),
        Mistake(
            "a mask that lets one token of the future through",
            lambda query, key, value: _filled(query, key, value, _lower(query, 1), -math.inf),
            "Which diagonal is the first to be hidden?",
        ),
        Mistake(
            "masked scores set to 0 instead of -inf",
            lambda query, key, value: _filled(query, key, value, _lower(query), 0.0),
            "What is exp(0)?",
        ),
        Mistake(
            "masked scores set to -1 instead of -inf",
            lambda query, key, value: _filled(query, key, value, _lower(query), -1.0),
            "What is exp(-1)? Is that nothing?",
        ),
        Mistake(
            "the mask applied after softmax: rows no longer sum to 1",
            _after,
            "The weights of the hidden keys are gone. Who gets what they had?",
        ),
        Mistake(
            "a mask of 0 and 1 added to the scores",
            lambda query, key, value: (_scores(query, key) + _lower(query)).softmax(-1) @ value,
            "What must be added to a score so that its weight becomes 0?",
        ),
        Mistake(
            "NaN everywhere: a mask of 0 and 1 multiplied with -inf",
            lambda query, key, value: (
                (_scores(query, key) + (~_lower(query)).double() * -math.inf).softmax(-1) @ value
            ),
            "What is 0 times infinity? masked_fill needs no product.",
        ),
        Mistake(
            "causal attention without scaling",
            lambda query, key, value: (
                (query @ key.mT).masked_fill(~_lower(query), -math.inf).softmax(-1) @ value
            ),
            "What was exercise 6 about?",
        ),
    ),
)
