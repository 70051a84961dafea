"""Exercise 2: softmax that does not overflow."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Scores can be any numbers. To share attention out, each row must become weights: positive, and
1 together. Softmax does that: exp(score) divided by the row's sum of exp(score).

There is a trap. exp(1000) is inf, and inf / inf is NaN. But softmax does not change when the
same number is subtracted from a whole row, so there is a number to subtract that makes it
safe.

The rows are the last axis; there may be any number of axes before it.
"""

# --- your file
import torch
from torch import Tensor


def softmax(scores: Tensor) -> Tensor:
    """Each row as weights that sum to 1, whatever the size of the scores.

    Shapes:
        scores [..., kv_len] -> [..., kv_len]

    >>> softmax(torch.tensor([[0., 0.], [1000., 0.]]))
    tensor([[0.5000, 0.5000],
            [1.0000, 0.0000]])
    """
    # solution
    powers = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    return powers / powers.sum(dim=-1, keepdim=True)
    # end


# --- end of your file


def plain(scores: Tensor, dim: int = -1) -> Tensor:
    """Softmax by the formula."""
    return torch.exp(scores) / torch.exp(scores).sum(dim, keepdim=True)


def shifted_by(scores: Tensor, largest: Tensor) -> Tensor:
    """Softmax with something else subtracted than the row's maximum."""
    powers = torch.exp(scores - largest)
    return powers / powers.sum(-1, keepdim=True)


def probes(draw: Draw) -> list[Probe]:
    """Small scores; scores that overflow; rows that are far from each other."""
    far = draw(4, 5) + 2000.0 * draw(4, 1).sign() * (1 + draw(4, 1).abs())
    far[0], far[1] = far[0].abs() + 1500, -far[1].abs() - 1500
    return [Probe((draw(2, 3, 5, scale=2),)), Probe((far,)), Probe((draw(1, 7),))]


exercise = Exercise(
    title="Softmax that does not overflow",
    function="softmax",
    solution=softmax,
    minutes=10,
    difficulty=1,
    story=STORY,
    hints=(
        "First write exp(scores) divided by its sum along the last axis; keepdim=True keeps the "
        "axis so that the division fits.",
        "exp is safe for numbers up to 0. What can you subtract so that no score is above 0?",
        "Subtract each row's own maximum: scores.amax(dim=-1, keepdim=True). Then exp, "
        "then divide.",
    ),
    probes=probes,
    without=("softmax", "log_softmax", "logsumexp", "Softmax"),
    mistakes=(
        Mistake(
            "softmax without subtracting the maximum: it overflows",
            plain,
            "What is exp(2000) in floating point, and what is that divided by itself?",
        ),
        Mistake(
            "softmax over the axis before the last: columns sum to 1, not rows",
            lambda scores: torch.softmax(scores, -2),
            "Print weights.sum(-1). Which axis should be 1?",
        ),
        Mistake(
            "softmax over the first axis",
            lambda scores: torch.softmax(scores, 0),
            "Print weights.sum(-1). Which axis should be 1?",
        ),
        Mistake(
            "softmax with the maximum of the whole tensor subtracted",
            lambda scores: shifted_by(scores, scores.max()),
            "What happens to a row whose scores are all 2000 below the largest of the tensor?",
        ),
        Mistake(
            "exp(score - max) without dividing by the sum",
            lambda scores: torch.exp(scores - scores.amax(-1, keepdim=True)),
            "Do the rows sum to 1?",
        ),
        Mistake(
            "exp(scores) divided by the sum of the whole tensor",
            lambda scores: torch.exp(scores) / torch.exp(scores).sum(),
            "Which sum should a row be divided by? And what is exp(2000)?",
        ),
        Mistake(
            "weights that sum to 1 over the whole tensor",
            lambda scores: torch.softmax(scores.flatten(), 0).view_as(scores),
            "Which sum did you divide by: the row's, or that of everything?",
        ),
    ),
)
