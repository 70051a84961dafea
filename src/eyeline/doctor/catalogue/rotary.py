"""Rotary positions: pairs of numbers turned by an angle that grows with position."""

import torch
from torch import Tensor

from eyeline.doctor.recipe import Recipe, State

__all__ = ["ROTARY"]

ROTARY = Recipe(
    "rotary positions",
    "pair i of a vector at position p is turned by p · 10000^(−2i/d)",
    result="turned",
    signature="f(x) or f(x, positions) or f(x, cos, sin)",
)

PAPER = "Su et al. 2021, equation 34, arXiv:2104.09864"


@ROTARY.step
def frequencies(s: State) -> State:
    """Radians per position of each pair: [d / 2]."""
    return s.base ** (-torch.arange(0, s.head_dim, 2, dtype=torch.float64) / s.head_dim)


@ROTARY.step
def angles(s: State) -> State:
    """[length, d / 2]."""
    return s.positions.double()[:, None] * s.frequencies


@ROTARY.step
def cosines(s: State) -> State:
    """Cosine and sine for each number: [length, d]."""
    return {"cos": spread(s.angles.cos(), s.pairing), "sin": spread(s.angles.sin(), s.pairing)}


@ROTARY.step
def partner(s: State) -> State:
    """The other number of each pair, with its sign."""
    return other(s.x, s.pairing)


@ROTARY.step
def turned(s: State) -> State:
    """Sum x cos + partner sin: [batch, heads, length, d]."""
    return s.x * s.cos + s.partner * s.sin


def spread(numbers: Tensor, pairing: str) -> Tensor:
    """A number for each pair, written for both of its numbers."""
    if pairing == "interleaved":
        return numbers.repeat_interleave(2, -1)
    return torch.cat([numbers, numbers], -1)


def other(x: Tensor, pairing: str) -> Tensor:
    """(−b, a) for each pair (a, b)."""
    if pairing == "interleaved":
        return torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


def opposite(pairing: str) -> str:
    """The other pairing."""
    return "halves" if pairing == "interleaved" else "interleaved"


@ROTARY.mistake(
    "frequencies",
    "one frequency for all pairs",
    seen="angle = position  # for every pair",
    symptom="Only differences modulo 2π can be told apart.",
    fix="How fast does the last pair turn?",
    needs=("makes_angles",),
)
def _(s: State) -> State:
    return torch.ones(s.head_dim // 2, dtype=torch.float64)


@ROTARY.mistake(
    "frequencies",
    "exponent i instead of 2i",
    seen="theta ** (-torch.arange(d // 2) / d)",
    symptom="Short texts go well, long ones do not: the slow pairs are missing.",
    fix="Pair i has the exponent 2i/d. How large is it for the last pair?",
    source=PAPER,
    needs=("makes_angles",),
)
def _(s: State) -> State:
    return s.base ** (-torch.arange(s.head_dim // 2, dtype=torch.float64) / s.head_dim)


@ROTARY.mistake(
    "frequencies",
    "frequencies grow instead of fall",
    seen="theta ** (torch.arange(0, d, 2) / d)",
    symptom="Neighbouring positions are unrelated.",
    fix="Should later pairs turn faster or more slowly?",
    needs=("makes_angles",),
)
def _(s: State) -> State:
    return s.base ** (torch.arange(0, s.head_dim, 2, dtype=torch.float64) / s.head_dim)


@ROTARY.mistake(
    "frequencies",
    "another base",
    seen="theta = 500000  # Llama 3's; the checkpoint was trained with 10000",
    symptom="Nearly right on short texts, worse with every token.",
    fix="Which rope_theta stands in the model's config?",
    values=(1000.0, 100000.0, 500000.0, 1000000.0),
    needs=("makes_angles",),
)
def _(s: State, base: float) -> State:
    return base ** (-torch.arange(0, s.head_dim, 2, dtype=torch.float64) / s.head_dim)


@ROTARY.mistake(
    "angles",
    "positions start at 1",
    seen="t = torch.arange(1, length + 1)",
    symptom="No harm alone (only differences count), but a cache that starts at 0 does not fit.",
    fix="Is the first token turned at all?",
    needs=("makes_angles",),
)
def _(s: State) -> State:
    return (s.positions.double() + 1)[:, None] * s.frequencies


@ROTARY.mistake(
    "angles",
    "positions start again at 0",
    seen="t = torch.arange(x.size(-2))  # whatever is in the cache",
    symptom="Reading a text at once goes well; token by token each stands at position 0.",
    fix="Where does the newest token stand when 10 are in the cache?",
    source="x-transformers#219",
    needs=("takes_positions",),
)
def _(s: State) -> State:
    return torch.arange(s.length, dtype=torch.float64)[:, None] * s.frequencies


@ROTARY.mistake(
    "angles",
    "turned the wrong way",
    seen="angle = -position * frequency",
    symptom="Alone no harm; a checkpoint that was trained the other way gives nonsense.",
    fix="Which of the two terms has the minus: a cos − b sin, or a cos + b sin?",
    needs=("makes_angles",),
)
def _(s: State) -> State:
    return -s.positions.double()[:, None] * s.frequencies


@ROTARY.mistake(
    "cosines",
    "sine and cosine exchanged",
    seen="x * sin + rotate_half(x) * cos",
    symptom="At position 0 a vector is not left as it is.",
    fix="What should happen to the first token?",
)
def _(s: State) -> State:
    return {"cos": spread(s.angles.sin(), s.pairing), "sin": spread(s.angles.cos(), s.pairing)}


@ROTARY.mistake(
    "cosines",
    "angles laid out for the other pairing",
    seen="cos = cos.repeat_interleave(2, -1); x * cos + rotate_half(x) * sin",
    symptom="Vectors change their length: the numbers of a pair are turned by different angles.",
    fix="Which two numbers are a pair here, and do they get the same angle?",
    source="rasbt/LLMs-from-scratch#747, nanochat#264",
    needs=("makes_angles",),
)
def _(s: State) -> State:
    pairing = opposite(s.pairing)
    return {"cos": spread(s.angles.cos(), pairing), "sin": spread(s.angles.sin(), pairing)}


@ROTARY.mistake(
    "partner",
    "sign forgotten in the partner",
    seen="torch.cat([x2, x1], dim=-1)",
    symptom="It is no rotation: vectors change their length.",
    fix="Turn (1, 0) by 90°. Then (0, 1). Where is the minus?",
)
def _(s: State) -> State:
    return _swapped(s.x, s.pairing)


def _swapped(x: Tensor, pairing: str) -> Tensor:
    """(b, a) for each pair (a, b)."""
    if pairing == "interleaved":
        return torch.stack([x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    first, second = x.chunk(2, -1)
    return torch.cat([second, first], -1)


@ROTARY.mistake(
    "partner",
    "sign on the wrong half of the partner",
    seen="torch.cat([x2, -x1], dim=-1)",
    symptom="Alone no harm; a checkpoint that was trained the other way gives nonsense.",
    fix="Turn (1, 0) by 90°: is the result (0, 1) or (0, −1)?",
)
def _(s: State) -> State:
    return -other(s.x, s.pairing)


@ROTARY.mistake(
    "turned",
    "the other pairing",
    seen="x1, x2 = x[..., ::2], x[..., 1::2]  # the checkpoint pairs halves",
    symptom="Trains well from nothing; a checkpoint of the other pairing gives nonsense.",
    fix="Are the numbers of a pair neighbours (RoFormer, GPT-J) or half a vector apart (Llama)?",
    source="rasbt/LLMs-from-scratch#747, #838; only where pairing= is stated",
    needs=("stated",),
)
def _(s: State) -> State:
    pairing = opposite(s.pairing)
    cos, sin = spread(s.angles.cos(), pairing), spread(s.angles.sin(), pairing)
    return s.x * cos + other(s.x, pairing) * sin


@ROTARY.mistake(
    "turned",
    "position counted along the heads",
    seen="t = torch.arange(x.size(1))  # x is [batch, heads, length, width]",
    symptom="All tokens of a head are turned alike: there is no position.",
    fix="Which axis is the length here?",
    needs=("makes_angles", "num_heads"),
)
def _(s: State) -> State:
    where = torch.arange(s.x.shape[1], dtype=torch.float64)[:, None] * s.frequencies
    cos, sin = (spread(n, s.pairing)[:, None] for n in (where.cos(), where.sin()))
    return s.x * cos + other(s.x, s.pairing) * sin


@ROTARY.mistake(
    "turned",
    "angle added instead of turned by",
    seen="x + angle",
    symptom="It is an absolute position: scores depend on more than the distance.",
    fix="What happens to a vector's length when it is turned?",
    needs=("makes_angles",),
)
def _(s: State) -> State:
    return s.x + spread(s.angles, s.pairing)


@ROTARY.mistake(
    "turned",
    "not turned at all",
    seen="return x",
    symptom="Tokens have no order but what the causal mask gives.",
    fix="Is the result used?",
)
def _(s: State) -> State:
    return s.x + 0
