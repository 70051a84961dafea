"""Functions that make masks of padding. True = may attend."""

import torch

from eyeline.doctor.recipe import Recipe, State

__all__ = ["PADDING_MASK"]

PADDING_MASK = Recipe(
    "padding mask",
    "real tokens may be looked at, padding may not",
    result="seen",
    signature="f(lengths, max_len) or f(ids, pad_id)",
)


@PADDING_MASK.step
def count(s: State) -> State:
    """How many tokens of each item are real: [batch, 1]."""
    return s.lengths[:, None]


@PADDING_MASK.step
def position(s: State) -> State:
    """[1, keys]."""
    return torch.arange(s.kv_len)[None]


@PADDING_MASK.step
def seen(s: State) -> State:
    """[batch, keys]."""
    return (s.position < s.count).double()


@PADDING_MASK.mistake(
    "count",
    "one token of padding too many seen",
    seen="torch.arange(max_len) <= lengths[:, None]",
    symptom="The first padding of each sentence takes part.",
    fix="Which positions have the tokens of a sentence of length 3?",
)
def _(s: State) -> State:
    return s.lengths[:, None] + 1


@PADDING_MASK.mistake(
    "count",
    "the last real token hidden",
    seen="torch.arange(max_len) < lengths[:, None] - 1",
    symptom="The end of each sentence is never looked at.",
    fix="Which positions have the tokens of a sentence of length 3?",
)
def _(s: State) -> State:
    return s.lengths[:, None] - 1


@PADDING_MASK.mistake(
    "count",
    "the first item's length for all",
    seen="torch.arange(max_len) < lengths[0]",
    symptom="Right for a batch of one.",
    fix="Do all sentences of the batch end at the same place?",
)
def _(s: State) -> State:
    return s.lengths[:1, None].expand(len(s.lengths), 1)


@PADDING_MASK.mistake(
    "position",
    "padding taken to be on the left",
    seen="torch.arange(max_len) >= max_len - lengths[:, None]",
    symptom="Real tokens at the start are hidden, padding at the end is seen.",
    fix="On which side does this batch have its padding?",
)
def _(s: State) -> State:
    return torch.arange(s.kv_len).flip(0)[None]


@PADDING_MASK.mistake(
    "seen",
    "inverted",
    seen="mask = ids == pad_id  # read as: True = may look",
    symptom="Real tokens are hidden and padding is seen.",
    fix="Does True mean “may look” or “must not” to who reads the mask?",
    source="x-transformers#164",
)
def _(s: State) -> State:
    return (s.position >= s.count).double()


@PADDING_MASK.mistake(
    "seen",
    "everything seen",
    seen="mask = torch.ones_like(ids)",
    symptom="Padding takes part in every sum.",
    fix="What tells padding from tokens?",
)
def _(s: State) -> State:
    return torch.ones(len(s.lengths), s.kv_len, dtype=torch.float64)
