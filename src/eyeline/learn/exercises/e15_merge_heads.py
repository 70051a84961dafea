"""Exercise 15: the heads' outputs become one vector again."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
When all heads have attended, their outputs are put side by side again: the exact inverse of
exercise 14. Forgetting to move the heads back before joining is the same silent mistake in
the other direction: published tutorials have shipped it.
"""

# --- your file
import torch
from torch import Tensor


def merge_heads(x: Tensor) -> Tensor:
    """Put the heads side by side.

    Shapes:
        x [batch, num_heads, length, head_dim] -> [batch, length, num_heads * head_dim]

    >>> x = torch.tensor([[[[1, 2], [5, 6]], [[3, 4], [7, 8]]]])
    >>> merge_heads(x)
    tensor([[[1, 2, 3, 4],
             [5, 6, 7, 8]]])
    """
    # solution
    batch, num_heads, length, head_dim = x.shape
    return x.transpose(1, 2).reshape(batch, length, num_heads * head_dim)
    # end


# --- end of your file


def _flat(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], x.shape[2], -1)


def probes(draw: Draw) -> list[Probe]:
    """Batch, heads, length and width of a head all differ."""
    return [Probe((draw(2, 3, 5, 4),)), Probe((draw(1, 4, 3, 2),))]


exercise = Exercise(
    title="Merge the heads",
    function="merge_heads",
    solution=merge_heads,
    minutes=5,
    difficulty=2,
    story=STORY,
    hints=(
        "Undo exercise 14, last step first.",
        "First the heads go back behind the length; then the last two axes become one.",
        "x.transpose(1, 2).reshape(batch, length, -1); view would complain, for transpose "
        "leaves the "
        "numbers where they are.",
    ),
    probes=probes,
    axes=("batch", "position", "embed_dim"),
    mistakes=(
        Mistake(
            "reshape without transpose: tokens and heads are mixed",
            _flat,
            "In the example, does token 0 get 1, 2, 3, 4?",
        ),
        Mistake(
            "interleaved heads",
            lambda x: x.permute(0, 2, 3, 1).reshape(x.shape[0], x.shape[2], -1),
            "Which numbers stand next to each other in one token: those of one head?",
        ),
        Mistake(
            "the average of the heads",
            lambda x: x.mean(1),
            "Side by side: how wide is the result?",
        ),
        Mistake(
            "the sum of the heads",
            lambda x: x.sum(1),
            "Side by side: how wide is the result?",
        ),
    ),
)
