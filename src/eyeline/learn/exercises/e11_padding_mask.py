"""Exercise 11: what only fills the batch up must not be read."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Sentences of a batch have different lengths; the short ones are filled up with PAD tokens. PAD
has a vector like any token, and attention would happily read it. Hide the *keys* behind each
sentence's length; the queries at PAD positions may compute what they like, nobody reads them.

The test of a padding mask: the output of a sentence must not depend on how far it was padded.
"""

# --- your file
import math

import torch
from torch import Tensor


def padded_attention(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor) -> Tensor:
    """Attention in which sentence b has lengths[b] keys; those behind them are padding.

    Shapes:
        query [batch, num_heads, q_len, head_dim], key [batch, num_heads, kv_len, head_dim],
        value [batch, num_heads, kv_len, value_dim], lengths [batch]
        -> [batch, num_heads, q_len, value_dim]

    >>> ones = torch.ones(2, 1, 3, 4)
    >>> value = torch.tensor([0., 2., 7.]).expand(2, 1, 3).unsqueeze(-1)
    >>> padded_attention(ones, ones, value, torch.tensor([2, 3]))[:, 0, 0, 0]
    tensor([1.0000, 3.0000])
    """
    # solution
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    real = torch.arange(key.shape[-2]) < lengths[:, None]
    scores = scores.masked_fill(~real[:, None, None, :], -torch.inf)
    return torch.softmax(scores, dim=-1) @ value
    # end


# --- end of your file


def _weights(query: Tensor, key: Tensor, seen: Tensor, fill: float = -math.inf) -> Tensor:
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return scores.masked_fill(~seen, fill).softmax(-1)


def _real(x: Tensor, lengths: Tensor) -> Tensor:
    return (torch.arange(x.shape[-2]) < lengths[:, None])[:, None, None, :]


def _after(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor) -> Tensor:
    every = torch.ones(key.shape[-2], dtype=torch.bool)
    return _weights(query, key, every).masked_fill(~_real(key, lengths), 0) @ value


def probes(draw: Draw) -> list[Probe]:
    """As many heads as sentences in the second: there a mask on the wrong axis still broadcasts."""
    shapes = ((3, 2, 5), (2, 2, 4))
    lengths = (torch.tensor([3, 5, 1]), torch.tensor([2, 4]))
    return [
        Probe((draw(b, h, n, 8), draw(b, h, n, 8), draw(b, h, n, 3), long))
        for (b, h, n), long in zip(shapes, lengths, strict=True)
    ]


exercise = Exercise(
    title="The padding mask",
    function="padded_attention",
    solution=padded_attention,
    minutes=15,
    difficulty=2,
    story=STORY,
    hints=(
        "For each sentence, which keys are real? torch.arange(kv_len) < lengths[:, None] "
        "is [batch, kv_len].",
        "The scores are [batch, num_heads, q_len, kv_len]. Where must two axes of size 1 go in?",
        "scores.masked_fill(~real[:, None, None, :], -torch.inf)",
    ),
    probes=probes,
    axes=("batch", "head", "query", "value_dim"),
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    mistakes=(
        Mistake(
            "attention that reads the padding",
            lambda query, key, value, lengths: (
                _weights(query, key, torch.ones(key.shape[-2], dtype=torch.bool)) @ value
            ),
            "Is the mask used anywhere?",
        ),
        Mistake(
            "an inverted mask: only the padding is read",
            lambda query, key, value, lengths: _weights(query, key, ~_real(key, lengths)) @ value,
            "Does True in your mask mean 'real' or 'padding'?",
        ),
        Mistake(
            "the rows of padded queries masked, not the columns of padded keys",
            lambda query, key, value, lengths: (
                _weights(query, key, _real(query, lengths).mT) @ value
            ),
            "Which axis of the scores counts the keys?",
        ),
        Mistake(
            "a length that is one too small",
            lambda query, key, value, lengths: (
                _weights(query, key, _real(key, lengths - 1)) @ value
            ),
            "With lengths[b] = 3, which positions are real? Count from 0.",
        ),
        Mistake(
            "a length that is one too large",
            lambda query, key, value, lengths: (
                _weights(query, key, _real(key, lengths + 1)) @ value
            ),
            "With lengths[b] = 3, which positions are real? Count from 0.",
        ),
        Mistake(
            "masked scores set to 0 instead of -inf",
            lambda query, key, value, lengths: (
                _weights(query, key, _real(key, lengths), 0.0) @ value
            ),
            "What is exp(0)?",
        ),
        Mistake(
            "the mask applied after softmax: rows no longer sum to 1",
            _after,
            "Who gets the weight that the padding had?",
        ),
    ),
)
