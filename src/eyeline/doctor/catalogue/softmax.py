"""Softmax by itself."""

import torch

from eyeline.doctor.recipe import Recipe, State

__all__ = ["SOFTMAX"]

SOFTMAX = Recipe(
    "softmax",
    "exp(x − max x) / Σ exp(x − max x), along one axis",
    result="weights",
    signature="f(x, dim)",
)


@SOFTMAX.step
def shifted(s: State) -> State:
    """The largest becomes 0, so that nothing overflows."""
    return s.x - s.x.amax(s.dim, keepdim=True)


@SOFTMAX.step
def exponentials(s: State) -> State:
    """All positive, the largest is 1."""
    return torch.exp(s.shifted)


@SOFTMAX.step
def total(s: State) -> State:
    """What makes them sum to 1."""
    return s.exponentials.sum(s.dim, keepdim=True)


@SOFTMAX.step
def weights(s: State) -> State:
    """A distribution along the axis."""
    return s.exponentials / s.total


@SOFTMAX.mistake(
    "shifted",
    "maximum not subtracted",
    seen="e = torch.exp(x); return e / e.sum(-1, keepdim=True)",
    symptom="Right for small numbers; from about 89 on (float32) NaN, far below 0 NaN as well.",
    fix="exp(1000) is infinite. What may be subtracted from all numbers unpunished?",
    source="Goodfellow et al. 2016, Deep Learning, section 4.1",
)
def _(s: State) -> State:
    return s.x


@SOFTMAX.mistake(
    "shifted",
    "one maximum for everything",
    seen="e = torch.exp(x - x.max())",
    symptom="Rows far below the largest number of the whole tensor become 0/0.",
    fix="Which maximum belongs to a row?",
)
def _(s: State) -> State:
    return s.x - s.x.max()


@SOFTMAX.mistake(
    "shifted",
    "minimum subtracted",
    seen="e = torch.exp(x - x.min(-1, keepdim=True).values)",
    symptom="Overflows as soon as the numbers of a row lie far apart.",
    fix="Which numbers should never be positive before exp?",
)
def _(s: State) -> State:
    return s.x - s.x.amin(s.dim, keepdim=True)


@SOFTMAX.mistake(
    "shifted",
    "sign lost",
    seen="e = torch.exp(x.max() - x)",
    symptom="The smallest number gets the largest weight.",
    fix="Is exp(a − b) larger when a is larger?",
)
def _(s: State) -> State:
    return s.x.amin(s.dim, keepdim=True) - s.x


@SOFTMAX.mistake(
    "exponentials",
    "powers of 2",
    seen="e = 2 ** (x - top)",
    symptom="A softmax that is a little too even.",
    fix="Which base has exp? (Kernels use 2, and multiply x by log2 e first.)",
)
def _(s: State) -> State:
    return torch.exp2(s.shifted)


@SOFTMAX.mistake(
    "exponentials",
    "not exponentiated",
    seen="return x / x.sum(-1, keepdim=True)",
    symptom="Sums to 1, but holds negative numbers.",
    fix="What makes every weight positive?",
)
def _(s: State) -> State:
    return s.x


@SOFTMAX.mistake(
    "exponentials",
    "absolute values instead of exponentials",
    seen="return x.abs() / x.abs().sum(-1, keepdim=True)",
    symptom="Sums to 1 and is positive, but large negative numbers get much weight.",
    fix="What should the weight of −1000 be?",
)
def _(s: State) -> State:
    return s.x.abs()


@SOFTMAX.mistake(
    "total",
    "sum over everything",
    seen="return e / e.sum()",
    symptom="The whole tensor sums to 1, not each row.",
    fix="How many distributions are there?",
)
def _(s: State) -> State:
    return s.exponentials.sum()


@SOFTMAX.mistake(
    "total",
    "sum along the first axis",
    seen="return e / e.sum(0)",
    symptom="Columns sum to 1, rows do not.",
    fix="Along which axis do the numbers compete?",
    needs=("rank",),
)
def _(s: State) -> State:
    return s.exponentials.sum(0, keepdim=True)


@SOFTMAX.mistake(
    "total",
    "sum along the last but one axis",
    seen="return e / e.sum(-2, keepdim=True)",
    symptom="Columns sum to 1, rows do not.",
    fix="Along which axis do the numbers compete?",
    needs=("rank",),
)
def _(s: State) -> State:
    return s.exponentials.sum(-min(2, s.x.dim()), keepdim=True)


@SOFTMAX.mistake(
    "total",
    "one added to the sum",
    seen="return e / (1 + e.sum(-1, keepdim=True))",
    symptom="Rows sum to less than 1.",
    fix="What do the weights have to sum to?",
)
def _(s: State) -> State:
    return 1 + s.exponentials.sum(s.dim, keepdim=True)


@SOFTMAX.mistake(
    "weights",
    "mean instead of sum",
    seen="return e / e.mean(-1, keepdim=True)",
    symptom="Rows sum to their length.",
    fix="What do the weights have to sum to?",
)
def _(s: State) -> State:
    return s.exponentials / s.total * s.x.shape[s.dim]


@SOFTMAX.mistake(
    "weights",
    "not divided by the sum",
    seen="return torch.exp(x - x.max(-1, keepdim=True).values)",
    symptom="The largest weight of each row is 1.",
    fix="What do the weights have to sum to?",
)
def _(s: State) -> State:
    return s.exponentials


@SOFTMAX.mistake(
    "weights",
    "logarithm of softmax",
    seen="return F.log_softmax(x, dim=-1)",
    symptom="All numbers are negative.",
    fix="Which of the two is a distribution?",
)
def _(s: State) -> State:
    return s.shifted - torch.log(s.total)


@SOFTMAX.mistake(
    "weights",
    "sigmoid instead of softmax",
    seen="return 1 / (1 + torch.exp(-x))",
    symptom="Rows do not sum to 1.",
    fix="Do the numbers of a row compete?",
)
def _(s: State) -> State:
    return torch.sigmoid(s.x)


@SOFTMAX.mistake(
    "weights",
    "softmax twice",
    seen="return softmax(softmax(x))",
    symptom="Nearly even.",
    fix="Was it a distribution already?",
)
def _(s: State) -> State:
    return torch.softmax(s.exponentials / s.total, s.dim)


@SOFTMAX.mistake(
    "weights",
    "the largest only",
    seen="return (x == x.max(-1, keepdim=True).values).float()",
    symptom="One weight of each row is 1; nothing can be learned through it.",
    fix="What of the second largest?",
)
def _(s: State) -> State:
    return (s.x == s.x.amax(s.dim, keepdim=True)).to(s.x.dtype)


@SOFTMAX.mistake(
    "weights",
    "axis ignored",
    seen="def softmax(x, dim): return torch.softmax(x, -1)",
    symptom="Right for the last axis only.",
    fix="What happens to the argument?",
    needs=("any_axis",),
)
def _(s: State) -> State:
    return torch.softmax(s.x, -1)
