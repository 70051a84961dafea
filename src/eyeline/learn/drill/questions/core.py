"""Questions 8 to 24: the equation."""

import math

import torch
from torch import Tensor

from eyeline.functional import attention, observe
from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import no, normal, yes
from eyeline.nn import MultiHeadAttention

__all__ = ["QUESTIONS"]


def _weights(query: Tensor, key: Tensor, scale: float | None = None) -> Tensor:
    value = torch.zeros(1, key.shape[0], 1, dtype=key.dtype)
    return observe(query[None], key[None], value, scale=scale)[1].dense()[0, 0]


def _roles() -> Values:
    query, key, value = normal(4, 8), normal(6, 8, seed=1), normal(6, 8, seed=2)
    other = normal(6, 8, seed=3)
    before, after_value = _weights(query, key), _weights(query, key)
    after_key = _weights(query, other)
    outputs = [attention(query[None], key[None], v[None]) for v in (value, other)]
    return {
        "weights_by_value": float((after_value - before).abs().max()),
        "output_by_value": float((outputs[0] - outputs[1]).abs().max()),
        "weights_by_key": float((after_key - before).abs().max()),
    }


def _no_projections() -> Values:
    x = normal(64, 64)
    itself = _weights(x, x).argmax(-1) == torch.arange(64)
    projected = _weights(x @ normal(64, 64, seed=1) / 8, x @ normal(64, 64, seed=2) / 8)
    free = projected.argmax(-1) == torch.arange(64)
    return {"itself": float(itself.double().mean()), "projected": float(free.double().mean())}


def _symmetric() -> Values:
    x = normal(16, 32)
    query, key = x @ normal(32, 8, seed=1), x @ normal(32, 8, seed=2)
    one, two = query @ query.T, query @ key.T
    return {
        "shared": float((one - one.T).abs().max()),
        "separate": float((two - two.T).abs().max()),
    }


def _softmax() -> Values:
    scores = normal(4, 6)
    weights = scores.softmax(-1)
    linear = scores / scores.sum(-1, keepdim=True)
    return {
        "smallest": float(weights.min()),
        "sum": float(weights.sum(-1).mean()),
        "linear_smallest": float(linear.min()),
    }


def _variance(width: int) -> float:
    return float((normal(20_000, width) * normal(20_000, width, seed=1)).sum(-1).var())


def _jacobians() -> Values:
    def median(width: int, scale: float) -> float:
        weights = _weights(normal(256, width), normal(32, width, seed=1), scale)
        return float((weights * (1 - weights)).amax(-1).median())

    return {
        "narrow": median(4, 1.0),
        "wide": median(1024, 1.0),
        "scaled": median(1024, 1024**-0.5),
    }


def _temperature() -> Values:
    scores = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    return {
        "cold": float((scores / 0.05).softmax(-1)[0, 2]),
        "warm": float(scores.softmax(-1)[0, 2]),
        "hot": float((scores / 100).softmax(-1)[0, 2]),
    }


def _equivariance() -> Values:
    x, order = normal(1, 12, 8), torch.randperm(12, generator=torch.Generator().manual_seed(0))
    first, second = attention(x, x, x), attention(x[:, order], x[:, order], x[:, order])
    return {
        "permuted": float((first[:, order] - second).abs().max()),
        "same": float((first - second).abs().max()),
        "pooled": float((first.mean(1) - second.mean(1)).abs().max()),
    }


def _dropout() -> Values:
    ones = torch.ones(1, 1, 2000, 1)
    query = torch.zeros(1, 1, 64, 1)
    keys = torch.zeros(1, 1, 2000, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sums = attention(query, keys, ones, dropout_p=0.5)
    return {"mean": float(sums.mean()), "least": float(sums.min()), "most": float(sums.max())}


def _gap() -> Values:
    low, high = 0.0, 50.0
    for _ in range(60):  # bisection: the weight of the first of 10 keys grows with its score
        middle = (low + high) / 2
        scores = torch.zeros(1, 10, dtype=torch.float64)
        scores[0, 0] = middle
        low, high = (middle, high) if scores.softmax(-1)[0, 0] < 0.99 else (low, middle)
    return {"answer": low}


def _two_values() -> Values:
    key = torch.eye(8, dtype=torch.float64)
    weights = _weights((50 * (key[0] + key[1]))[None], key)[0]
    return {"a": float(weights[0]), "b": float(weights[1]), "rest": float(weights[2:].sum())}


QUESTIONS = [
    Question(
        8,
        "Which of query, key and value can be changed without changing the attention weights?",
        "Another value changes the weights by {weights_by_value:.0f} and the output by up to "
        "{output_by_value:.1f}; another key changes the weights by up to {weights_by_key:.2f}.",
        "practice 3",
        _roles,
        (
            yes("The value", "Weights are made of query and key only; values are what is read."),
            no("The query", "The weights are how well keys match the query."),
            no("The key", "The weights are how well keys match the query."),
            no("None of them", "The value takes no part in the weights."),
        ),
        lambda v: v["weights_by_value"] == 0 < v["weights_by_key"],
    ),
    Question(
        9,
        "What happens without projections, with query = key = value = x?",
        "{itself:.0%} of random tokens then look most at themselves; with random projections "
        "{projected:.0%} do.",
        "practice 4",
        _no_projections,
        (
            yes(
                "Nearly every token finds itself best",
                "x · x is its squared length, larger than its product with another one.",
            ),
            no("The weights become equal", "They become the opposite of equal."),
            no("The order of the tokens is lost", "It is not there with projections either."),
            no("Nothing: projections only save memory", "They decide what matches what."),
        ),
        lambda v: v["itself"] > 0.95 and v["projected"] < 0.2,
    ),
    Question(
        10,
        "What do you lose if query and key share one projection?",
        "Scores of i with j and of j with i then differ by {shared:.1g}; with two "
        "projections by up "
        "to {separate:.0f}.",
        "practice 5",
        _symmetric,
        (
            yes(
                "Direction: i would score j exactly as j scores i",
                "QQᵀ is symmetric. 'it' should look at 'animal', not 'animal' at 'it' as much.",
            ),
            no("Nothing but parameters", "The scores become symmetric."),
            no("The model can no longer be trained", "It can; it can only express less."),
            no("Softmax no longer sums to 1", "Softmax does not know where scores come from."),
        ),
        lambda v: v["shared"] < 1e-9 and v["separate"] > 1,
    ),
    Question(
        11,
        "Why softmax, and not simply scores divided by their sum?",
        "Softmax's smallest weight here is {smallest:.3f} and rows sum to {sum:.0f}; "
        "dividing by the "
        "sum gives weights down to {linear_smallest:.1f}.",
        "practice 2",
        _softmax,
        (
            yes(
                "Scores can be negative: weights must be positive and sum to 1, smoothly",
                "exp makes them positive, the division makes them shares, and all is "
                "differentiable.",
            ),
            no("Softmax is cheaper", "An exp per score is dearer than a division."),
            no("Softmax picks exactly one key", "It never gives a weight of exactly 0 or 1."),
            no("Only softmax has a gradient", "A division has one as well."),
        ),
        lambda v: v["smallest"] > 0 > v["linear_smallest"],
    ),
    Question(
        12,
        "Queries and keys of width 64 with entries of variance 1: what is the variance of q · k?",
        "Measured over 20,000 pairs: {answer:.1f}. It is the width; hence the root of the width as "
        "divisor.",
        "practice 6",
        lambda: {"answer": _variance(64)},
    ),
    Question(
        13,
        "If the scores were divided by 64 instead of √64, what would their standard deviation be?",
        "{answer:.3f}: the scores would hardly differ, and the weights would be nearly equal.",
        "practice 6",
        lambda: {"answer": math.sqrt(_variance(64)) / 64},
    ),
    Question(
        14,
        "What happens to softmax's gradient without scaling as heads get wider (32 keys)?",
        "Median of the largest p (1 - p) of a row: {narrow:.2f} at width 4, {wide:.1g} at "
        "width 1024, "
        "and {scaled:.2f} at width 1024 when scaled.",
        "practice 6",
        _jacobians,
        (
            yes(
                "It vanishes: one weight is nearly 1, and p (1 - p) nearly 0",
                "Saturated weights no longer react to their scores.",
            ),
            no("It explodes", "p (1 - p) is never above 1/4."),
            no("Nothing, softmax normalises it", "It normalises the weights, not the gradient."),
            no("It becomes noisy but keeps its size", "It loses its size."),
        ),
        lambda v: v["wide"] < 0.02 < 0.1 < min(v["narrow"], v["scaled"]),
    ),
    Question(
        15,
        "softmax(scores / T): what does T → 0 give?",
        "The largest of 1, 2, 3 gets {warm:.2f} at T = 1, {cold:.4f} at T = 0.05, "
        "{hot:.2f} at T = 100.",
        "practice 2",
        _temperature,
        (
            yes("All weight on the largest score", "A soft lookup becomes a hard one: argmax."),
            no("Equal weights", "That is T → ∞."),
            no("NaN", "Only T = 0 itself divides by zero."),
            no("The scores themselves", "Softmax never gives back its input."),
        ),
        lambda v: v["cold"] > 0.999 and abs(v["hot"] - 1 / 3) < 0.01,
    ),
    Question(
        16,
        "The text becomes twice as long. By what factor do the operations for scores and "
        "weighted sum "
        "grow?",
        "{answer:.0f}: both are length × length × width.",
        "practice 24",
        lambda: {"answer": _attention_flops(2048, 64) / _attention_flops(1024, 64)},
        within=0.01,
    ),
    Question(
        17,
        "How many parameters has multi-head attention with embed_dim 512, 8 heads, biases "
        "included?",
        "eyeline.nn.MultiHeadAttention(512, 8) has {answer:,.0f}: four matrices of 512² and four "
        "biases. The number of heads does not matter.",
        "practice 16",
        lambda: {"answer": sum(p.numel() for p in MultiHeadAttention(512, 8).parameters())},
        within=0.02,
    ),
    Question(
        18,
        "embed_dim is 4096. At which length do scores and weighted sum cost as many "
        "operations as the "
        "four projections?",
        "Projections: 8 · length · embed_dim²; scores and sum: 4 · length² · embed_dim. Equal at "
        "{answer:,.0f} tokens.",
        "practice 16",
        lambda: {"answer": _equal_cost(4096)},
        unit="tokens",
    ),
    Question(
        19,
        "Attention without positions and without a mask: the tokens are shuffled. What "
        "about the output?",
        "Output rows shuffled alike differ by {permuted:.1g}; in place they differ by up to "
        "{same:.1f}. Only a mean over tokens stays the same ({pooled:.1g}).",
        "practice 19",
        _equivariance,
        (
            yes(
                "It is shuffled in the same way: equivariant",
                "Each token still gets the same vector, wherever it stands.",
            ),
            no(
                "It is the same: invariant",
                "That is true of a mean over tokens, not of the output.",
            ),
            no("It changes arbitrarily", "Nothing in the equation knows positions."),
            no("It is undefined", "Any order is a legal input."),
        ),
        lambda v: v["permuted"] < 1e-9 < 0.1 < v["same"],
    ),
    Question(
        20,
        "128 tokens, heads of width 16: what is the largest possible rank of one head's "
        "score matrix?",
        "torch.linalg.matrix_rank says {answer:.0f}: Q Kᵀ goes through 16 numbers per token.",
        "practice 14",
        lambda: {
            "answer": float(torch.linalg.matrix_rank(normal(128, 16) @ normal(128, 16, seed=1).T))
        },
        within=0.01,
    ),
    Question(
        21,
        "Where does attention's dropout act, and what does it do to the rows?",
        "With dropout 0.5 the rows of 2,000 equal weights sum to {mean:.2f} on average, from "
        "{least:.2f} to {most:.2f}.",
        "practice 7",
        _dropout,
        (
            yes(
                "On the weights, after softmax: rows sum to 1 only on average",
                "Kept weights are divided by 1 - p; the row is not normalised again.",
            ),
            no("On the scores, before softmax", "A score of 0 is no missing key: exp(0) is 1."),
            no("On the output", "That is the residual's dropout, another one."),
            no("On the weights, and rows still sum to 1", "Nothing renormalises them."),
        ),
        lambda v: abs(v["mean"] - 1) < 0.02 and v["least"] < 0.99 < 1.01 < v["most"],
    ),
    Question(
        22,
        "What can attention do that a convolution or an MLP over positions cannot?",
        "A convolution's weights are the same for every text; attention's are computed from it.",
        "practice 7",
        options=(
            yes(
                "Decide from the content which positions to mix",
                "The mixing weights are a function of the input, and of any length.",
            ),
            no("Mix positions at all", "Both others mix positions, with fixed weights."),
            no("Approximate any function", "Wide enough MLPs do so as well."),
            no("Work without nonlinearities", "Softmax is one; and the others need theirs too."),
        ),
    ),
    Question(
        23,
        "Ten keys; nine have score 0. Which score must the tenth have to get a weight of 0.99?",
        "{answer:.2f} = ln(0.99 / 0.01 · 9). Copying one value takes a gap that grows with the "
        "logarithm of the number of keys.",
        "practice 3",
        _gap,
    ),
    Question(
        24,
        "How can one query average exactly two values, a and b?",
        "A query along key a + key b, times 50: weights {a:.3f} and {b:.3f}, all others "
        "{rest:.1g}.",
        "practice 3",
        _two_values,
        (
            yes(
                "Make it equally and strongly similar to both keys",
                "Equal scores share equally; a large scale silences the rest.",
            ),
            no("Use two heads", "Two heads give two outputs; one query can average by itself."),
            no("Set the temperature to infinity", "That averages all values, not two."),
            no("It cannot", "It can, if the two keys can be told from the others."),
        ),
        lambda v: abs(v["a"] - 0.5) < 1e-6 and v["rest"] < 1e-6,
    ),
]


def _attention_flops(length: int, width: int) -> int:
    return 2 * (2 * length * length * width)


def _equal_cost(embed_dim: int) -> float:
    length = 1
    while _attention_flops(length, embed_dim) < 8 * length * embed_dim**2:
        length *= 2
    return float(length)
