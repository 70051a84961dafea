"""Functions that make causal masks. True = may attend."""

import torch

from eyeline.doctor.recipe import Recipe, State

__all__ = ["CAUSAL_MASK"]

CAUSAL_MASK = Recipe(
    "causal mask",
    "query i sees keys up to its own position",
    result="seen",
    signature="f(length) or f(q_len, kv_len)",
)


@CAUSAL_MASK.step
def last(s: State) -> State:
    """The last key that the first query sees."""
    return s.offset


@CAUSAL_MASK.step
def seen(s: State) -> State:
    """[queries, keys]: up to the query's own position."""
    return torch.ones(s.q_len, s.kv_len, dtype=torch.float64).tril(s.last)


@CAUSAL_MASK.mistake(
    "last",
    "one future token seen",
    seen="torch.tril(torch.ones(n, n), diagonal=1)",
    symptom="The loss falls to nearly 0 in training: each token sees its answer.",
    fix="May the first token see the second?",
)
def _(s: State) -> State:
    return s.offset + 1


@CAUSAL_MASK.mistake(
    "last",
    "the token itself hidden",
    seen="torch.tril(torch.ones(n, n), diagonal=-1)",
    symptom="The first token sees nothing: NaN.",
    fix="May a token look at itself?",
)
def _(s: State) -> State:
    return s.offset - 1


@CAUSAL_MASK.mistake(
    "last",
    "aligned at the other corner",
    seen="torch.tril(torch.ones(q_len, kv_len))",
    symptom="With a cache the newest token sees only the first key.",
    fix="At which position does the first of these queries stand?",
    source="pytorch#108108, flash-attention#1778",
    needs=("rectangular",),
)
def _(s: State) -> State:
    return s.kv_len - s.q_len - s.offset


@CAUSAL_MASK.mistake(
    "seen",
    "inverted",
    seen="torch.triu(torch.ones(n, n), diagonal=1).bool()  # read as: True = may look",
    symptom="A token sees only what comes after it.",
    fix="Does True mean “may look” or “must not” to who reads the mask?",
    source="rasbt/LLMs-from-scratch#1061",
)
def _(s: State) -> State:
    return 1 - torch.ones(s.q_len, s.kv_len, dtype=torch.float64).tril(s.last)


@CAUSAL_MASK.mistake(
    "seen",
    "transposed",
    seen="torch.triu(torch.ones(n, n))",
    symptom="A token sees itself and what comes after it.",
    fix="Rows are queries. What may row 0 see?",
)
def _(s: State) -> State:
    return torch.ones(s.q_len, s.kv_len, dtype=torch.float64).triu(s.last)


@CAUSAL_MASK.mistake(
    "seen",
    "everything seen",
    seen="torch.ones(n, n).bool()",
    symptom="The loss falls to nearly 0 in training: each token sees its answer.",
    fix="Which half of the matrix lies in the future?",
)
def _(s: State) -> State:
    return torch.ones(s.q_len, s.kv_len, dtype=torch.float64)


@CAUSAL_MASK.mistake(
    "seen",
    "only the token itself seen",
    seen="torch.eye(n).bool()",
    symptom="Nothing moves between tokens.",
    fix="May a token see what came before it?",
)
def _(s: State) -> State:
    full = torch.ones(s.q_len, s.kv_len, dtype=torch.float64)
    return full.tril(s.last).triu(s.last)
