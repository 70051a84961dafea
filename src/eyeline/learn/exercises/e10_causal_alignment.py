"""Exercise 10: which key is 'now', when there are more keys than queries?"""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
When a model writes token by token, the keys of the past are kept and only the newest tokens
ask. With 5 keys and 2 queries the queries are the *last* two tokens, positions 3 and 4: the
last query may see everything.

`torch.tril` and the is_causal flag of PyTorch's attention align the corner at the top left
instead: there one new query would see only the very first key. This is one of the most
reported mistakes of all. Causality is a matter of positions, not of matrix corners.
"""

# --- your file
import torch
from torch import Tensor


def causal_mask(q_len: int, kv_len: int) -> Tensor:
    """True where a query may look at a key; the queries are the last q_len of kv_len tokens.

    Shapes:
        -> bool [q_len, kv_len]

    >>> causal_mask(2, 4).int()
    tensor([[1, 1, 1, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    # solution
    query_position = torch.arange(kv_len - q_len, kv_len)
    key_position = torch.arange(kv_len)
    return key_position <= query_position[:, None]
    # end


# --- end of your file


def _ones(q_len: int, kv_len: int) -> Tensor:
    return torch.ones(q_len, kv_len, dtype=torch.bool)


def probes(draw: Draw) -> list[Probe]:
    """One query, some queries, as many as keys."""
    return [Probe((2, 5)), Probe((1, 5)), Probe((4, 4)), Probe((3, 7)), Probe((1, 1))]


exercise = Exercise(
    title="Causal, with more keys than queries",
    function="causal_mask",
    solution=causal_mask,
    minutes=10,
    difficulty=2,
    story=STORY,
    hints=(
        "Give every query and every key its position in the text. Where does the first "
        "query stand?",
        "The keys are 0 … kv_len-1; the queries are kv_len-q_len … kv_len-1. "
        "A key may be seen if its position is not larger.",
        "key_position <= query_position[:, None], or tril(diagonal=kv_len - q_len).",
    ),
    probes=probes,
    axes=("query", "key"),
    mistakes=(
        Mistake(
            "a causal mask aligned at the top left: query 0 sees key 0 only",
            lambda q_len, kv_len: _ones(q_len, kv_len).tril(),
            "Where in the text does the first query stand?",
        ),
        Mistake(
            "an inverted mask: True where the key is hidden",
            lambda q_len, kv_len: ~_ones(q_len, kv_len).tril(kv_len - q_len),
            "What does True mean here?",
        ),
        Mistake(
            "a mask in which a token does not see itself",
            lambda q_len, kv_len: _ones(q_len, kv_len).tril(kv_len - q_len - 1),
            "Smaller, or smaller or equal?",
        ),
        Mistake(
            "a mask that shows one token of the future",
            lambda q_len, kv_len: _ones(q_len, kv_len).tril(kv_len - q_len + 1),
            "How large is the position of the first query? Count from 0.",
        ),
        Mistake(
            "no mask",
            _ones,
            "Which keys come after the first query?",
        ),
    ),
)
