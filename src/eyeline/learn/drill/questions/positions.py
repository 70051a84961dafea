"""Questions 43 to 49: positions."""

import torch
from torch import Tensor

from eyeline import masks
from eyeline.biases import Alibi, alibi_slopes
from eyeline.functional import attention
from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import no, normal, yes
from eyeline.nn import LearnedPositions, Rotary, SinusoidalPositions
from eyeline.rotary import apply_rotary

__all__ = ["QUESTIONS"]


def _order() -> Values:
    """Dog bites man, man bites dog: does 'bites' get another vector?"""
    x = normal(1, 3, 8)
    turned = x[:, [2, 1, 0]]

    def bites(with_positions: bool) -> float:
        where = SinusoidalPositions(8)(torch.arange(3)).double() if with_positions else 0
        pair = [attention(y + where, y + where, y + where) for y in (x, turned)]
        return float((pair[0] - pair[1])[0, 1].abs().max())

    return {"without": bites(False), "with": bites(True)}


def _beyond() -> Values:
    """Position 8 of positions made for 8; and whether PE[p + 3] is a fixed map of PE[p]."""
    table, waves = LearnedPositions(8, 4), SinusoidalPositions(16)(torch.arange(60)).double()
    try:
        table(torch.tensor([8]))
        learned = 1.0
    except ValueError:
        learned = 0.0
    fit = torch.linalg.lstsq(waves[:40], waves[3:43]).solution
    residual = float((waves[40:57] @ fit - waves[43:60]).abs().max())
    return {"learned": learned, "residual": residual}


def _turned(x: Tensor, positions: Tensor, interleaved: bool = False) -> Tensor:
    cos, sin = (side.double() for side in Rotary(x.shape[-1])(positions))
    if interleaved:
        half = cos.shape[-1] // 2
        cos, sin = (side[..., :half].repeat_interleave(2, -1) for side in (cos, sin))
    return apply_rotary(x, cos, sin, interleaved=interleaved)


def _relative() -> Values:
    query, key = normal(1, 1, 6, 16), normal(1, 1, 6, 16, seed=1)

    def scores(shift: int) -> Tensor:
        positions = torch.arange(6) + shift
        return _turned(query, positions) @ _turned(key, positions).mT

    pair = scores(0), scores(1000)
    return {"shifted": float((pair[0] - pair[1]).abs().max()), "size": float(pair[0].abs().max())}


def _layouts() -> Values:
    query, key = normal(1, 1, 6, 16), normal(1, 1, 6, 16, seed=1)
    positions = torch.arange(6)
    right = _turned(query, positions) @ _turned(key, positions).mT
    wrong = _turned(query, positions, True) @ _turned(key, positions, True).mT
    order = torch.arange(16).view(8, 2).T.flatten()  # neighbours become halves
    mended = _turned(query[..., order], positions) @ _turned(key[..., order], positions).mT
    return {
        "wrong": float((right - wrong).abs().max()),
        "mended": float((wrong - mended).abs().max()),
    }


def _slope() -> float:
    query = torch.zeros(1, 8, 2, 4)
    bias = Alibi(alibi_slopes(8), offset=0)
    value = torch.eye(2).expand(1, 8, -1, -1)
    weights = attention(query, query, value, bias=bias)[0, 0, 1]
    return float((weights[1] / weights[0]).log())  # one token further costs one slope


def _no_positions() -> Values:
    """Tokens in another order, without positions: does each token keep its vector?"""
    x, order = normal(1, 12, 8), torch.randperm(12, generator=torch.Generator().manual_seed(0))

    def error(mask: masks.Mask | None) -> float:
        mixed = x[:, order]
        first = attention(x[None], x[None], x[None], attn_mask=mask)[0]
        second = attention(mixed[None], mixed[None], mixed[None], attn_mask=mask)[0]
        return float((first[:, order] - second).abs().max())

    return {"unmasked": error(None), "causal": error(masks.causal())}


def _interpolated() -> Values:
    speeds = 10000 ** (-torch.arange(0, 64, 2).double() / 64)
    return {
        "trained": float(2047 * speeds[0]),
        "beyond": float(8191 * speeds[0]),
        "interpolated": float(8191 / 4 * speeds[0]),
    }


QUESTIONS = [
    Question(
        43,
        "'dog bites man' and 'man bites dog', no positions, no mask. What vector does 'bites' get?",
        "Between the two sentences it moves by {without:.1g} without positions, by {with:.2f} with "
        "them.",
        "practice 19",
        _order,
        (
            yes("The same in both", "Attention sums over a set: who stands where is not in it."),
            no(
                "Different ones: the softmax differs", "The same scores in another order sum alike."
            ),
            no("The average of the two", "There is only one vector, the same for both."),
            no("It depends on the number of heads", "No head knows positions."),
        ),
        lambda v: v["without"] < 1e-9 < 0.01 < v["with"],
    ),
    Question(
        44,
        "What can sinusoidal positions do that learned ones cannot?",
        "Learned positions made for 8 have a vector for position 8: {learned:.0f}. And a "
        "fixed matrix "
        "turns PE[p] into PE[p + 3] for p it was not fitted on, to {residual:.1g}.",
        "practice 19",
        _beyond,
        (
            yes(
                "Give a vector to any position, related to others by a fixed linear map",
                "Whether the model makes sense of positions it never saw is another matter.",
            ),
            no("Work well at any length", "They are defined there; models still fail there."),
            no("Adapt to the data", "That is what learned ones do."),
            no("Save computation", "Both are one addition."),
        ),
        lambda v: v["learned"] == 0 and v["residual"] < 1e-2,
    ),
    Question(
        45,
        "A text is moved by 1,000 positions. What happens to the scores with rotary positions?",
        "They move by {shifted:.1g}, with scores up to {size:.0f}: float32 angles, no more.",
        "practice 20",
        _relative,
        (
            yes(
                "Nothing: only the distance of query and key counts",
                "Both are turned; the dot product sees the difference of the two angles.",
            ),
            no("They all shrink", "Turning keeps lengths."),
            no("They change sign", "A common turn changes no angle between the two."),
            no("They change at random", "It is an exact identity."),
        ),
        lambda v: v["shifted"] < 1e-2 * v["size"],
    ),
    Question(
        46,
        "A checkpoint pairs neighbours (0, 1), your code pairs halves (0, d/2). What happens?",
        "The scores are off by up to {wrong:.1f}, without an error. Permuting the rows of "
        "W_Q and W_K "
        "first mends it, to {mended:.1g}.",
        "practice 20",
        _layouts,
        (
            yes(
                "Wrong scores without any error, until the rows of W_Q and W_K are permuted",
                "Both layouts are equally good; only they must not be mixed.",
            ),
            no("Nothing: the layouts are equal", "Equal up to a permutation, which is missing."),
            no("A shape error", "Shapes are the same."),
            no("Only the first position is wrong", "It is the only right one: angle 0."),
        ),
        lambda v: v["wrong"] > 0.1 and v["mended"] < 1e-6,
    ),
    Question(
        47,
        "ALiBi with 8 heads: what slope has the first head?",
        "One token further costs {answer:.3f} = 2^(-8/8) in the first head.",
        "practice 21",
        lambda: {"answer": _slope()},
        within=0.02,
    ),
    Question(
        48,
        "A causal model without any position information: does it know the order?",
        "Tokens in another order: their vectors change by {unmasked:.1g} without a mask, by up to "
        "{causal:.2f} under a causal mask.",
        "practice 9",
        _no_positions,
        (
            yes(
                "Yes, some: the mask lets position t see t + 1 tokens",
                "'Attention has no order' is false under a causal mask (NoPE, Kazemnejad "
                "et al. 2023).",
            ),
            no("No, attention is permutation-equivariant", "Only without a mask."),
            no("Only with several heads", "One is enough."),
            no("Yes, exactly as with RoPE", "It knows who came before, not how far away."),
        ),
        lambda v: v["unmasked"] < 1e-9 < 0.1 < v["causal"],
    ),
    Question(
        49,
        "Trained on 2,048 positions with RoPE, to be used on 8,192. What does position "
        "interpolation do?",
        "The fastest angle at the last position: {trained:,.0f} in training, {beyond:,.0f} "
        "at 8,192, "
        "{interpolated:,.0f} when positions are divided by 4.",
        "docs/models.md",
        _interpolated,
        (
            yes(
                "Divides the positions by 4, so that all angles were seen in training",
                "Chen et al. 2023. Neighbours come closer together, hence some fine-tuning.",
            ),
            no("Trains new vectors for the new positions", "RoPE has none to train."),
            no("Cuts the text into four", "Then nothing could look across the cuts."),
            no("Turns the angles four times as fast", "That goes further beyond what was seen."),
        ),
        lambda v: abs(v["interpolated"] - v["trained"]) < 1 < v["beyond"] - v["trained"],
    ),
]
