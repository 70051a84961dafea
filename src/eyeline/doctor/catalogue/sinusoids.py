"""Sinusoidal positions: sines and cosines from fast to slow."""

import torch

from eyeline.doctor.recipe import Recipe, State

__all__ = ["SINUSOIDS"]

SINUSOIDS = Recipe(
    "sinusoids",
    "sin(p / 10000^(2i/d)) at 2i, cos of the same at 2i + 1",
    result="encoding",
    signature="f(length, embed_dim)",
)

PAPER = "Vaswani et al. 2017, section 3.5, arXiv:1706.03762"


@SINUSOIDS.step
def positions(s: State) -> State:
    """[length, 1], from 0."""
    return torch.arange(s.length, dtype=torch.float64)[:, None]


@SINUSOIDS.step
def exponents(s: State) -> State:
    """2i / d for each pair i: [d / 2]."""
    return torch.arange(0, s.embed_dim, 2, dtype=torch.float64) / s.embed_dim


@SINUSOIDS.step
def angles(s: State) -> State:
    """[length, d / 2]."""
    return s.positions / s.base**s.exponents


@SINUSOIDS.step
def pairs(s: State) -> State:
    """Sine and cosine of each angle: [length, d / 2, 2]."""
    return torch.stack([s.angles.sin(), s.angles.cos()], -1)


@SINUSOIDS.step
def encoding(s: State) -> State:
    """[length, d]: sine and cosine as neighbours, or all sines before all cosines."""
    if s.pairing == "halves":
        return s.pairs.transpose(-2, -1).flatten(-2)
    return s.pairs.flatten(-2)


@SINUSOIDS.mistake(
    "positions",
    "positions start at 1",
    seen="position = torch.arange(1, length + 1)",
    symptom="All rows are one too far; tables of others do not fit.",
    fix="What is the row of position 0: sin 0 and cos 0?",
)
def _(s: State) -> State:
    return torch.arange(1, s.length + 1, dtype=torch.float64)[:, None]


@SINUSOIDS.mistake(
    "exponents",
    "exponent i instead of 2i",
    seen="10000 ** (torch.arange(d // 2) / d)",
    symptom="Only the fast half of the frequencies occurs: distant positions look alike.",
    fix="The last pair should turn nearly 10000 times more slowly than the first. Does it?",
    source=PAPER,
)
def _(s: State) -> State:
    return torch.arange(s.embed_dim // 2, dtype=torch.float64) / s.embed_dim


@SINUSOIDS.mistake(
    "exponents",
    "exponent doubled twice",
    seen="for i in range(0, d, 2): pe[p, i] = sin(p / 10000 ** (2 * i / d))",
    symptom="Half of the pairs hardly turn at all.",
    fix="If i runs 0, 2, 4, … it is the 2i of the paper already.",
    source=PAPER,
)
def _(s: State) -> State:
    return 2 * torch.arange(0, s.embed_dim, 2, dtype=torch.float64) / s.embed_dim


@SINUSOIDS.mistake(
    "exponents",
    "exponent over half the width",
    seen="10000 ** (torch.arange(d // 2) / (d // 2 - 1))",
    symptom="Close to the paper's numbers but not equal: the slowest pair reaches 1/10000.",
    fix="Tensor2Tensor divides by d/2 − 1, the paper by d/2. Which one do you follow?",
    source="tensor2tensor's get_timing_signal_1d does this",
)
def _(s: State) -> State:
    return torch.arange(s.embed_dim // 2, dtype=torch.float64) / (s.embed_dim // 2 - 1)


@SINUSOIDS.mistake(
    "angles",
    "multiplied instead of divided",
    seen="angle = position * 10000 ** (2 * i / d)",
    symptom="Neighbouring positions have unrelated rows in most columns.",
    fix="Should later pairs turn faster or more slowly?",
)
def _(s: State) -> State:
    return s.positions * s.base**s.exponents


@SINUSOIDS.mistake(
    "angles",
    "another base than 10000",
    seen="position / 1000 ** (2 * i / d)",
    symptom="Everything looks well; tables of others do not fit.",
    fix="Which number stands in the paper?",
    source=PAPER,
    values=(1000.0, 100000.0, 500000.0, 1000000.0),
)
def _(s: State, base: float) -> State:
    return s.positions / base**s.exponents


@SINUSOIDS.mistake(
    "angles",
    "no power: frequencies fall in steps of 1/i",
    seen="angle = position / (10000 * 2 * i / d)",
    symptom="Except for the first pair nothing turns.",
    fix="Is it 10000 times 2i/d, or to the power of it?",
)
def _(s: State) -> State:
    return s.positions / (s.base * s.exponents).clamp(min=1)


@SINUSOIDS.mistake(
    "pairs",
    "sine and cosine exchanged",
    seen="pe[:, 0::2] = cos(angle); pe[:, 1::2] = sin(angle)",
    symptom="Row 0 is 1, 0, 1, 0, … instead of 0, 1, 0, 1, ….",
    fix="What should row 0 begin with?",
    source=PAPER,
)
def _(s: State) -> State:
    return torch.stack([s.angles.cos(), s.angles.sin()], -1)


@SINUSOIDS.mistake(
    "pairs",
    "sines only",
    seen="pe[:, 0::2] = pe[:, 1::2] = sin(angle)",
    symptom="Row 0 is all 0; a shift is no longer a rotation.",
    fix="What are the odd columns?",
)
def _(s: State) -> State:
    return torch.stack([s.angles.sin(), s.angles.sin()], -1)


@SINUSOIDS.mistake(
    "encoding",
    "all sines before all cosines",
    seen="torch.cat([sin(angle), cos(angle)], dim=-1)",
    symptom="The right numbers in another order; tables of others do not fit.",
    fix="Which columns does the paper give to the cosine? (Tensor2Tensor does it like you.)",
    source="only where pairing='interleaved' is stated, else it is a way to write it",
    needs=("stated",),
)
def _(s: State) -> State:
    return s.pairs.transpose(-2, -1).flatten(-2)
