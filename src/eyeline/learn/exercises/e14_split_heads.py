"""Exercise 14: one vector becomes several heads."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Multi-head attention cuts each token's query into num_heads pieces and lets each piece attend
on its own. Head 0 gets the first embed_dim / num_heads numbers of *every* token, head 1 the
next ones.

The heads must end up before the length, so that the last two axes are [length, head_dim] as
attention wants them. `view` alone can make that shape too, and mixes tokens and heads while
it does: the model still trains, a little worse, and nobody notices.
"""

# --- your file
import torch
from torch import Tensor


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut the width into heads.

    Shapes:
        x [batch, length, embed_dim] -> [batch, num_heads, length, embed_dim / num_heads]

    >>> x = torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8]]])
    >>> split_heads(x, 2)[0, 0]
    tensor([[1, 2],
            [5, 6]])
    """
    # solution
    batch, length, embed_dim = x.shape
    return x.reshape(batch, length, num_heads, embed_dim // num_heads).transpose(1, 2)
    # end


# --- end of your file


def _sizes(x: Tensor, num_heads: int) -> tuple[int, int, int, int]:
    return x.shape[0], x.shape[1], num_heads, x.shape[2] // num_heads


def _without_transpose(x: Tensor, num_heads: int) -> Tensor:
    batch, length, heads, width = _sizes(x, num_heads)
    return x.reshape(batch, heads, length, width)


def _interleaved(x: Tensor, num_heads: int) -> Tensor:
    batch, length, heads, width = _sizes(x, num_heads)
    return x.reshape(batch, length, width, heads).permute(0, 3, 1, 2)


def probes(draw: Draw) -> list[Probe]:
    """Batch, length, heads and width of a head all differ."""
    return [Probe((draw(2, 5, 12), 3)), Probe((draw(3, 4, 10), 5))]


exercise = Exercise(
    title="Split into heads",
    function="split_heads",
    solution=split_heads,
    minutes=10,
    difficulty=2,
    story=STORY,
    hints=(
        "Two steps: cut the last axis in two, then move the heads to where they belong.",
        "x.reshape(batch, length, num_heads, head_dim) keeps each token's numbers together. "
        "Which two axes change places then?",
        "Length and heads change places: .transpose(1, 2) after the reshape.",
    ),
    probes=probes,
    axes=("batch", "head", "position", "head_dim"),
    mistakes=(
        Mistake(
            "view without transpose: tokens and heads are mixed",
            _without_transpose,
            "Look at head 0 of the example: which tokens do its numbers come from?",
        ),
        Mistake(
            "interleaved heads: every num_heads-th number goes to the same head",
            _interleaved,
            "Head 0 gets the first head_dim numbers. Which axis comes first when the width is cut?",
        ),
        Mistake(
            "heads behind the length: [batch, length, num_heads, head_dim]",
            lambda x, num_heads: x.reshape(_sizes(x, num_heads)),
            "Attention works on the last two axes. Which two are they now?",
        ),
    ),
)
