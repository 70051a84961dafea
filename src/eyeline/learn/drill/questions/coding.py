"""Questions 72 to 76: reading and testing code."""

import torch
from torch import Tensor

from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import no, normal, yes
from eyeline.learn.exercise import Draw
from eyeline.learn.exercises import e10_causal_alignment as alignment
from eyeline.learn.exercises import e16_multi_head_attention as multi_head

__all__ = ["QUESTIONS"]


def _missing_line() -> Values:
    """Exercise 16 with what a hurried candidate leaves out, against the solution."""
    ((x, weights, heads), *_) = (probe.args for probe in multi_head.probes(Draw(0)))
    right = multi_head.multi_head_attention(x, weights, heads)

    def off(**changed) -> float:
        return float((multi_head._variant(x, weights, heads, **changed) - right).abs().max())

    return {"complete": off(), "merge": off(merge=False), "scale": off(scale=1.0)}


def _anticausal() -> Values:
    """PyTorch's SDPA with a mask from triu: True means may attend there."""
    x = normal(1, 1, 6, 8)
    mask = torch.triu(torch.ones(6, 6), 1).bool()
    changed = x.clone()
    changed[..., 5, :] += 1
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def moved(attn_mask: Tensor) -> float:
        pair = [sdpa(y, y, y, attn_mask=attn_mask)[0, 0, 0] for y in (x, changed)]
        return float((pair[0] - pair[1]).abs().max())

    return {"bug": moved(mask), "mended": moved(~mask)}


def _stable() -> Values:
    scores = torch.tensor([1000.0, 999.0])
    plain = scores.exp() / scores.exp().sum()
    shifted = (scores - scores.max()).exp() / (scores - scores.max()).exp().sum()
    return {"nan": float(plain.isnan().all()), "first": float(shifted[0])}


def _decoding_mask() -> Values:
    right = alignment.causal_mask(1, 5)
    return {"right": float(right.sum()), "tril": float(torch.ones(1, 5).tril().sum())}


def _blind_probes() -> Values:
    """How many mistakes of exercise 16 a probe lets pass: the output looks right."""

    def passed(x: Tensor, weights: dict[str, Tensor], heads: int) -> float:
        right = multi_head.multi_head_attention(x, weights, heads)
        made = [mistake.wrong(x, weights, heads) for mistake in multi_head.exercise.mistakes]
        return float(sum(bool(torch.allclose(right, one)) for one in made))

    identity = {f"w_{n}": torch.eye(8, dtype=torch.float64) for n in "qkvo"}
    identity |= {f"b_{n}": torch.zeros(8, dtype=torch.float64) for n in "qkvo"}
    alike = Draw(1)(2, 1, 8).expand(-1, 4, -1)
    proper = multi_head.probes(Draw(1))[0].args
    count = len(multi_head.exercise.mistakes)
    return {"easy": passed(alike, identity, 2), "proper": passed(*proper), "mistakes": count}


QUESTIONS = [
    Question(
        72,
        "output = weights @ value, of shape [batch, heads, length, head_dim]. What comes "
        "before the "
        "reshape to [batch, length, embed_dim]?",
        "Without it the output is off by up to {merge:.1f}; the complete layer by {complete:.1g}.",
        "practice 15",
        _missing_line,
        (
            yes(
                "output.transpose(1, 2)",
                "The heads go back behind the length, then they are joined.",
            ),
            no("Nothing: reshape makes the shape", "It makes the shape, out of the wrong numbers."),
            no("output.transpose(-2, -1)", "That turns each head's table on its side."),
            no("output.mean(1)", "That averages the heads; they are to stand side by side."),
        ),
        lambda v: v["complete"] < 1e-9 < 0.01 < v["merge"],
    ),
    Question(
        73,
        "mask = torch.triu(torch.ones(n, n), 1).bool(); F.scaled_dot_product_attention(q, k, v, "
        "attn_mask=mask). What is wrong?",
        "Changing the LAST token moves the first output by {bug:.2f}; with ~mask by {mended:.0f}.",
        "practice 13",
        _anticausal,
        (
            yes(
                "The polarity: True means may attend, so this sees the future only",
                "nn.MultiheadAttention's masks mean the opposite. A published notebook had "
                "this very "
                "bug.",
            ),
            no(
                "The diagonal should be 0",
                "Then the token itself would be allowed: still the future.",
            ),
            no("A float mask is needed", "Bool masks are fine."),
            no("Nothing", "Perturb the last token and look at the first output."),
        ),
        lambda v: v["bug"] > 0.01 and v["mended"] == 0,
    ),
    Question(
        74,
        "exp(x) / exp(x).sum() for x = [1000, 999] in float32: what is the first number?",
        "NaN ({nan:.0%} of the numbers): inf / inf. With the maximum subtracted it is {first:.3f}.",
        "practice 2",
        _stable,
        (
            yes("NaN", "exp(1000) is inf, and inf / inf is NaN."),
            no("0.731", "That is what it should be, and is with the maximum subtracted."),
            no("1", "inf / inf is not 1."),
            no("inf", "The sum is inf as well."),
        ),
        lambda v: v["nan"] == 1 and abs(v["first"] - 0.731) < 1e-3,
    ),
    Question(
        75,
        "A KV cache is added. One new query, 5 keys in all: which mask is right?",
        "The last query sees {right:.0f} keys; torch.ones(1, 5).tril() leaves {tril:.0f}.",
        "practice 10",
        _decoding_mask,
        (
            yes("None: the newest token may see all 5", "It stands at position 4."),
            no("torch.ones(1, 5).tril()", "That is aligned at the top left: it sees key 0 only."),
            no("is_causal=True", "The same alignment, the same mistake."),
            no("Only the last key", "Then the cache would be for nothing."),
        ),
        lambda v: v["right"] == 5 and v["tril"] == 1,
    ),
    Question(
        76,
        "You test multi-head attention with identical tokens and identity weights. What do "
        "you find?",
        "Of {mistakes:.0f} known mistakes that test lets {easy:.0f} pass; one with all "
        "sizes different and "
        "random weights {proper:.0f}.",
        "practice 16",
        _blind_probes,
        (
            yes(
                "Little: many wrong implementations give the same output there",
                "Let batch, heads, lengths and widths all differ, and let weights be "
                "random and scores "
                "moderate.",
            ),
            no("Every mistake, if the tolerance is small", "A wrong output can be equal exactly."),
            no("Nothing at all: it always fails", "The right one passes, and many wrong ones too."),
            no("Whether training will work", "Wrong attention often trains, only worse."),
        ),
        lambda v: v["easy"] >= 3 and v["proper"] == 0,
    ),
]
