"""Exercise 20: rotary positions."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Instead of adding a position to the token, rotary positions (RoPE, Su et al. 2021) *turn*
queries and keys: each pair of numbers is a point in a plane, turned by position times a
speed. The dot product of two turned vectors then depends only on how far apart they stand.
Values are not turned.

There are two layouts, and checkpoints differ. Here: the one of Llama in Hugging Face's
format, where number j is paired with number j + head_dim / 2. (The other pairs neighbours, 2j
with 2j + 1.)

    angle_j = position * 10000^(-2j / head_dim),  j = 0 … head_dim / 2 - 1
    first'  = first * cos - second * sin
    second' = second * cos + first * sin
"""

# --- your file
import torch
from torch import Tensor


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Turn each pair of numbers by the angle of the token's position.

    Shapes:
        x [batch, num_heads, length, head_dim], positions [length] -> as x

    >>> x = torch.tensor([1., 0.]).expand(1, 1, 2, 2)
    >>> rotate(x, torch.tensor([0, 1]))[0, 0]
    tensor([[1.0000, 0.0000],
            [0.5403, 0.8415]])
    """
    # solution
    head_dim = x.shape[-1]
    speed = 10000 ** (-torch.arange(0, head_dim, 2, dtype=x.dtype) / head_dim)
    angle = positions[:, None] * speed
    first, second = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    # end


# --- end of your file


def _turned(x: Tensor, positions: Tensor, *, sign: int = 1, step: int = 2) -> Tensor:
    half = torch.arange(x.shape[-1] // 2, dtype=x.dtype)
    angle = sign * positions[:, None] * 10000 ** (-step * half / x.shape[-1])
    first, second = x.chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _neighbours(x: Tensor, positions: Tensor) -> Tensor:
    half = torch.cat([x[..., 0::2], x[..., 1::2]], -1)
    turned = _turned(half, positions).chunk(2, -1)
    return torch.stack(turned, -1).flatten(-2)


def _sine_first(x: Tensor, positions: Tensor) -> Tensor:
    half = torch.arange(x.shape[-1] // 2, dtype=x.dtype)
    angle = positions[:, None] * 10000 ** (-2 * half / x.shape[-1])
    first, second = x.chunk(2, -1)
    cos, sin = angle.sin(), angle.cos()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _by_heads(x: Tensor, positions: Tensor) -> Tensor:
    return _turned(x.transpose(1, 2), torch.arange(x.shape[1])).transpose(1, 2)


def probes(draw: Draw) -> list[Probe]:
    """Positions that begin at 0, and others, as with a cache."""
    return [
        Probe((draw(2, 3, 4, 8), torch.tensor([5, 6, 7, 11]))),
        Probe((draw(1, 2, 5, 6), torch.arange(5))),
    ]


exercise = Exercise(
    title="Rotary positions",
    function="rotate",
    solution=rotate,
    minutes=20,
    difficulty=3,
    story=STORY,
    hints=(
        "First the angles: a table [length, head_dim / 2], position times speed.",
        "first, second = x.chunk(2, dim=-1) are the two halves; cos and sin of the table broadcast "
        "over batch and heads.",
        "torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)",
    ),
    probes=probes,
    tolerance=1e-4,
    axes=("batch", "head", "position", "head_dim"),
    mistakes=(
        Mistake(
            "rotary positions in the other layout: neighbours are paired",
            _neighbours,
            "Which number is paired with number 0?",
        ),
        Mistake(
            "a turn in the other direction",
            lambda x, positions: _turned(x, positions, sign=-1),
            "Which of the two lines has the minus?",
        ),
        Mistake(
            "positions that begin at 0, whatever was given",
            lambda x, positions: _turned(x, torch.arange(x.shape[-2])),
            "Where do the tokens stand? The argument says it.",
        ),
        Mistake(
            "sine and cosine in each other's place",
            _sine_first,
            "A token at position 0 is turned by nothing. What is cos(0)?",
        ),
        Mistake(
            "speeds 10000^(-j / head_dim)",
            lambda x, positions: _turned(x, positions, step=1),
            "Is the exponent j, or 2j, over head_dim?",
        ),
        Mistake(
            "vectors turned by the number of their head",
            _by_heads,
            "Which axis of x counts the positions?",
        ),
        Mistake(
            "vectors that were not turned",
            lambda x, positions: x,
            "Does the output depend on the position?",
        ),
    ),
)
