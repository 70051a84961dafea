"""ALiBi: a penalty on distance, with a slope for each head.

Only what softmax can see of a causal model is compared: keys up to the query, each row up to a
constant (the paper's own code adds slope · key position, which is the same).
"""

import torch
from torch import Tensor

from eyeline.doctor.recipe import Recipe, State

__all__ = ["ALIBI", "slopes_of"]

ALIBI = Recipe(
    "alibi",
    "−slope · (query position − key position), slopes 2^(−8/h), 2^(−16/h), …",
    result="bias",
    signature="f(num_heads, length)",
)

PAPER = "Press et al. 2021, section 3, arXiv:2108.12409"


def slopes_of(num_heads: int) -> Tensor:
    """The slopes of the paper and of its code (for counts that are no power of two)."""
    power = 2 ** (num_heads.bit_length() - 1)
    plain = 2.0 ** (-8.0 / power * torch.arange(1, power + 1, dtype=torch.float64))
    if power == num_heads:
        return plain
    between = 2.0 ** (-4.0 / power * torch.arange(1, 2 * power, 2, dtype=torch.float64))
    return torch.cat([plain, between[: num_heads - power]])


@ALIBI.step
def slopes(s: State) -> State:
    """[heads]: from steep to flat."""
    return slopes_of(s.num_heads)


@ALIBI.step
def distance(s: State) -> State:
    """How far each key lies back: [queries, keys]."""
    place = torch.arange(s.length, dtype=torch.float64)
    return place[:, None] - place


@ALIBI.step
def bias(s: State) -> State:
    """[heads, queries, keys]; the future and the constant of each row are left out."""
    return canonical(-s.slopes[:, None, None] * s.distance)


def canonical(bias: Tensor) -> Tensor:
    """What a causal softmax can see: each row relative to the query's own place, no future."""
    own = bias.diagonal(dim1=-2, dim2=-1)[..., None]
    return (bias - own).tril()


@ALIBI.mistake(
    "slopes",
    "slopes in reverse order",
    seen="slopes = slopes.flip(0)",
    symptom="Trains well from nothing; a checkpoint that is loaded gives nonsense.",
    fix="Which head is the most short-sighted?",
    source=PAPER,
)
def _(s: State) -> State:
    return slopes_of(s.num_heads).flip(0)


@ALIBI.mistake(
    "slopes",
    "one slope for all heads",
    seen="slope = 2 ** (-8 / num_heads)",
    symptom="All heads see equally far.",
    fix="What differs between the heads?",
    source=PAPER,
)
def _(s: State) -> State:
    return slopes_of(s.num_heads)[:1].expand(s.num_heads)


@ALIBI.mistake(
    "slopes",
    "slopes start at 1",
    seen="2 ** (-8 * torch.arange(num_heads) / num_heads)",
    symptom="Every head is one step too short-sighted.",
    fix="What is the slope of the first of 8 heads: 1 or 1/2?",
    source=PAPER,
)
def _(s: State) -> State:
    return 2.0 ** (-8.0 * torch.arange(s.num_heads, dtype=torch.float64) / s.num_heads)


@ALIBI.mistake(
    "slopes",
    "the formula for powers of two used for every count",
    seen="2 ** (-8 * torch.arange(1, num_heads + 1) / num_heads)  # with 12 heads",
    symptom="Right for 4, 8 or 16 heads; checkpoints with 12 or 6 give nonsense.",
    fix="What do the paper's authors do when the number of heads is no power of two?",
    source="attention_with_linear_biases, get_slopes",
)
def _(s: State) -> State:
    return 2.0 ** (-8.0 * torch.arange(1, s.num_heads + 1, dtype=torch.float64) / s.num_heads)


@ALIBI.mistake(
    "slopes",
    "slopes fall linearly",
    seen="slopes = torch.arange(num_heads, 0, -1) / num_heads",
    symptom="No head sees far.",
    fix="Each slope is the one before times what?",
    source=PAPER,
)
def _(s: State) -> State:
    return torch.arange(s.num_heads, 0, -1, dtype=torch.float64) / s.num_heads


@ALIBI.mistake(
    "distance",
    "distance squared",
    seen="-(i - j) ** 2 * slope",
    symptom="Nothing beyond a few tokens is seen.",
    fix="The L in ALiBi stands for?",
)
def _(s: State) -> State:
    place = torch.arange(s.length, dtype=torch.float64)
    return (place[:, None] - place) ** 2


@ALIBI.mistake(
    "distance",
    "no distance: a constant of each row",
    seen="bias = slopes[:, None, None] * torch.arange(length)[:, None]",
    symptom="Softmax does not see it: as if there were no positions.",
    fix="Adding the same number to all scores of a row changes what?",
)
def _(s: State) -> State:
    place = torch.arange(s.length, dtype=torch.float64)
    return place[:, None].expand(-1, s.length)


@ALIBI.mistake(
    "bias",
    "sign lost",
    seen="scores + slope * (i - j)",
    symptom="The farther away, the more attention.",
    fix="Is it a penalty?",
)
def _(s: State) -> State:
    return canonical(s.slopes[:, None, None] * s.distance)
