"""Exercise 19: sinusoidal positions."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Attention does not know the order of its tokens: shuffle them and the outputs are shuffled, no
more. The first Transformer adds a vector to each token that says where it stands: waves of
many lengths, like the hands of a clock (Vaswani et al. 2017, section 3.5):

    PE[pos, 2i]   = sin(pos / 10000^(2i / embed_dim))
    PE[pos, 2i+1] = cos(pos / 10000^(2i / embed_dim))
"""

# --- your file
import torch
from torch import Tensor


def sinusoids(length: int, embed_dim: int) -> Tensor:
    """The position vectors of the paper; embed_dim is even.

    Shapes:
        -> [length, embed_dim]

    >>> sinusoids(2, 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    # solution
    position = torch.arange(length)[:, None]
    angle = position / 10000 ** (torch.arange(0, embed_dim, 2) / embed_dim)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    # end


# --- end of your file


def _angle(length: int, embed_dim: int, first: int = 0, step: int = 2) -> Tensor:
    pairs = torch.arange(embed_dim // 2)
    return (torch.arange(length) + first)[:, None] / 10000 ** (step * pairs / embed_dim)


def _woven(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([a, b], -1).flatten(1)


def probes(draw: Draw) -> list[Probe]:
    """Two lengths, two widths."""
    return [Probe((7, 6)), Probe((4, 10))]


exercise = Exercise(
    title="Sinusoidal positions",
    function="sinusoids",
    solution=sinusoids,
    minutes=15,
    difficulty=2,
    story=STORY,
    hints=(
        "Make the angles first: a table [length, embed_dim / 2], position divided by a "
        "power of 10000.",
        "torch.arange(0, embed_dim, 2) is 2i already. Even columns are sines, odd ones cosines.",
        "out = torch.zeros(length, embed_dim); out[:, 0::2] = angle.sin(); out[:, 1::2] = "
        "angle.cos()",
    ),
    probes=probes,
    tolerance=1e-4,
    axes=("position", "embed_dim"),
    mistakes=(
        Mistake(
            "cosines in the even columns and sines in the odd ones",
            lambda n, d: _woven(_angle(n, d).cos(), _angle(n, d).sin()),
            "What does position 0 look like in the example?",
        ),
        Mistake(
            "the exponent i / embed_dim instead of 2i / embed_dim",
            lambda n, d: _woven(_angle(n, d, step=1).sin(), _angle(n, d, step=1).cos()),
            "How long is the longest wave? It should be close to 10000 · 2π.",
        ),
        Mistake(
            "the exponent 4i / embed_dim: 2 was multiplied in twice",
            lambda n, d: _woven(_angle(n, d, step=4).sin(), _angle(n, d, step=4).cos()),
            "Does your arange count i, or 2i already?",
        ),
        Mistake(
            "all sines first, then all cosines",
            lambda n, d: torch.cat([_angle(n, d).sin(), _angle(n, d).cos()], -1),
            "Which column stands next to the first sine?",
        ),
        Mistake(
            "positions that begin at 1",
            lambda n, d: _woven(_angle(n, d, first=1).sin(), _angle(n, d, first=1).cos()),
            "Where does the first token stand?",
        ),
        Mistake(
            "angles in degrees",
            lambda n, d: _woven(
                (_angle(n, d) * math.pi / 180).sin(), (_angle(n, d) * math.pi / 180).cos()
            ),
            "torch.sin takes radians. Was something converted?",
        ),
    ),
)
