"""Exercise 21: ALiBi, a bias instead of position vectors."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
ALiBi (Press et al. 2022) needs no position vectors: it makes far keys a little worse. Each
head subtracts slope · distance from its scores. Head h of H (a power of 2) has the slope
2^(-8 (h + 1) / H): some heads look close by, others far.

As in exercise 10 the queries are the last q_len of kv_len tokens. The future is hidden with
-inf.
"""

# --- your file
import torch
from torch import Tensor


def alibi(num_heads: int, q_len: int, kv_len: int) -> Tensor:
    """What is added to the scores.

    Shapes:
        -> [num_heads, q_len, kv_len]

    >>> alibi(8, 2, 3)[0]
    tensor([[-0.5000,  0.0000,    -inf],
            [-1.0000, -0.5000,  0.0000]])
    """
    # solution
    query_position = torch.arange(kv_len - q_len, kv_len)[:, None]
    distance = query_position - torch.arange(kv_len)
    slope = 2.0 ** (-8 * (torch.arange(num_heads) + 1) / num_heads)
    bias = -slope[:, None, None] * distance + 0.0
    return bias.masked_fill(distance < 0, -torch.inf)
    # end


# --- end of your file


def _variant(
    num_heads: int,
    q_len: int,
    kv_len: int,
    *,
    sign=-1,
    turn=False,
    first=1,
    aligned=True,
    hide=True,
) -> Tensor:
    start = kv_len - q_len if aligned else 0
    distance = torch.arange(start, start + q_len)[:, None] - torch.arange(kv_len)
    slope = 2.0 ** (-8 * (torch.arange(num_heads) + first) / num_heads)
    bias = sign * (slope.flip(0) if turn else slope)[:, None, None] * distance
    return bias.masked_fill(distance < 0, -torch.inf) if hide else bias


def probes(draw: Draw) -> list[Probe]:
    """More keys than queries; as many."""
    return [Probe((4, 3, 5)), Probe((8, 4, 4)), Probe((2, 1, 6))]


exercise = Exercise(
    title="ALiBi",
    function="alibi",
    solution=alibi,
    minutes=15,
    difficulty=2,
    story=STORY,
    hints=(
        "Three tables: positions, distances [q_len, kv_len], slopes [num_heads].",
        "distance = query_position[:, None] - key_position; negative distances are the future.",
        "-slope[:, None, None] * distance, then masked_fill(distance < 0, -torch.inf).",
    ),
    probes=probes,
    axes=("head", "query", "key"),
    mistakes=(
        Mistake(
            "a bias with the other sign: far keys are made better",
            lambda *sizes: _variant(*sizes, sign=1),
            "Should the score of a far key grow or shrink?",
        ),
        Mistake(
            "the slopes in reverse order",
            lambda *sizes: _variant(*sizes, turn=True),
            "Head 0 looks closest by: has it the largest or the smallest slope?",
        ),
        Mistake(
            "slopes that begin at 1",
            lambda *sizes: _variant(*sizes, first=0),
            "h counts from 0. What is the exponent of head 0?",
        ),
        Mistake(
            "distances from the top left: query 0 stands at position 0",
            lambda *sizes: _variant(*sizes, aligned=False),
            "What was exercise 10 about?",
        ),
        Mistake(
            "ALiBi with the future visible",
            lambda *sizes: _variant(*sizes, hide=False),
            "A negative distance makes the bias positive. Whose distance is negative?",
        ),
    ),
)
