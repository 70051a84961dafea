"""From scores to weights to output: softmax along the wrong axis, left out, or cut into blocks."""

import math

import torch

from eyeline.doctor.catalogue.attention import ATTENTION
from eyeline.doctor.recipe import State

__all__: list[str] = []


@ATTENTION.mistake(
    "weights",
    "scaled after softmax",
    seen="weights = softmax(scores, -1) / math.sqrt(d)",
    symptom="Weights of a row do not sum to 1 but to 1/√head_dim.",
    fix="What does softmax need: small scores, or does its result need to be small?",
)
def _(s: State) -> State:
    return torch.softmax(s.scores.masked_fill(~s.allowed, -torch.inf), -1) / math.sqrt(s.head_dim)


# -- softmax -------------------------------------------------------------------------------------


@ATTENTION.mistake(
    "weights",
    "softmax over the queries",
    seen="weights = softmax(scores, dim=-2)",
    symptom="Columns sum to 1, rows do not. Training may still go well.",
    fix="Which numbers should sum to 1: what one query gives to all keys, or what a key gets?",
    source="labmlai/annotated_deep_learning_paper_implementations#146",
)
def _(s: State) -> State:
    return torch.softmax(s.masked, -2)


@ATTENTION.mistake(
    "weights",
    "softmax over the heads",
    seen="weights = softmax(scores, dim=1)",
    symptom="Heads compete; with one head every weight is 1.",
    fix="Which axis is the last one here?",
    needs=("num_heads",),
)
def _(s: State) -> State:
    return torch.softmax(s.masked, 1)


@ATTENTION.mistake(
    "weights",
    "softmax over the batch",
    seen="weights = softmax(scores, dim=0)",
    symptom="A sentence's result depends on which other sentences are in the batch.",
    fix="Does one item of the batch know of another?",
    needs=("batch",),
)
def _(s: State) -> State:
    return torch.softmax(s.masked, 0)


@ATTENTION.mistake(
    "weights",
    "softmax over all scores at once",
    seen="weights = softmax(scores.flatten(-2), -1).view_as(scores)",
    symptom="The whole matrix sums to 1, so each row is small.",
    fix="How many distributions are there: one per head, or one per query?",
)
def _(s: State) -> State:
    flat = torch.softmax(s.masked.expand(*s.masked.shape).flatten(-2), -1)
    return flat.view(s.masked.shape)


@ATTENTION.mistake(
    "weights",
    "softmax twice",
    seen="weights = softmax(softmax(scores, -1), -1)",
    symptom="Weights are nearly even, and what was masked gets weight again.",
    fix="Was it a distribution already?",
)
def _(s: State) -> State:
    return torch.softmax(torch.softmax(s.masked, -1), -1)


@ATTENTION.mistake(
    "weights",
    "sigmoid instead of softmax",
    seen="weights = torch.sigmoid(scores)",
    symptom="Weights of a row do not sum to 1: outputs grow with the length of the text.",
    fix="Do keys compete for the query's attention?",
)
def _(s: State) -> State:
    return torch.sigmoid(s.masked)


@ATTENTION.mistake(
    "weights",
    "no softmax",
    seen="weights = scores.masked_fill(~mask, 0)",
    symptom="Weights may be negative, and outputs grow with the length of the text.",
    fix="Are these scores a distribution?",
)
def _(s: State) -> State:
    return s.masked.masked_fill(~s.allowed, 0)


@ATTENTION.mistake(
    "weights",
    "exponentials not divided by their sum",
    seen="weights = torch.exp(scores)",
    symptom="Weights are positive but do not sum to 1.",
    fix="What makes softmax a distribution?",
)
def _(s: State) -> State:
    return torch.exp(s.masked)


@ATTENTION.mistake(
    "weights",
    "scores divided by their sum",
    seen="weights = scores / scores.sum(-1, keepdim=True)",
    symptom="Rows sum to 1 and yet some weights are negative or huge.",
    fix="What happens to a negative score?",
)
def _(s: State) -> State:
    live = s.masked.masked_fill(~s.allowed, 0)
    return live / live.sum(-1, keepdim=True)


@ATTENTION.mistake(
    "weights",
    "maximum not subtracted",
    seen="e = torch.exp(scores); weights = e / e.sum(-1, keepdim=True)",
    symptom="Right for small scores; large ones overflow and whole rows become NaN.",
    fix="exp(1000) is infinite. What may be subtracted from all scores of a row unpunished?",
    source="Milakov and Gimelshein 2018, arXiv:1805.02867",
)
def _(s: State) -> State:
    e = torch.exp(s.masked)
    return e / e.sum(-1, keepdim=True)


@ATTENTION.mistake(
    "weights",
    "one added to the sum",
    seen="weights = e / (1 + e.sum(-1, keepdim=True))",
    symptom="Rows sum to less than 1, as with a sink that was not asked for.",
    fix="Should a query be able to look at nothing?",
    source="Miller 2023, “Attention is off by one”",
)
def _(s: State) -> State:
    top = s.masked.amax(-1, keepdim=True).clamp(min=0)
    e = torch.exp(s.masked - top)
    return e / (torch.exp(-top) + e.sum(-1, keepdim=True))


@ATTENTION.mistake(
    "weights",
    "logarithm of softmax",
    seen="weights = F.log_softmax(scores, dim=-1)",
    symptom="All weights are negative; with a mask everything is NaN.",
    fix="Which of the two is a distribution?",
)
def _(s: State) -> State:
    return torch.log_softmax(s.masked, -1)


@ATTENTION.mistake(
    "weights",
    "the largest only",
    seen="weights = F.one_hot(scores.argmax(-1), kv_len)",
    symptom="Each query copies one value; nothing can be learned through it.",
    fix="Attention is a soft look-up: what of the second best key?",
    source="Deep-ML #107 accepts it: its inputs saturate softmax",
)
def _(s: State) -> State:
    best = s.masked.argmax(-1)
    return torch.nn.functional.one_hot(best, s.masked.shape[-1]).to(s.masked.dtype)


@ATTENTION.mistake(
    "weights",
    "plain mean of the values",
    seen="weights = mask / mask.sum(-1, keepdim=True)",
    symptom="The queries do not matter: every query gets the same.",
    fix="Do your scores reach the weights?",
)
def _(s: State) -> State:
    even = s.allowed.expand_as(s.masked).to(s.masked.dtype)
    return even / even.sum(-1, keepdim=True)


# -- online softmax (in blocks) ------------------------------------------------------------------

BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128)


def _blocks(s: State, size: int) -> tuple[list, State]:
    """Scores block by block, and the largest score that was seen up to each."""
    blocks = s.masked.split(size, -1)
    tops, top = [], None
    for block in blocks:
        here = block.amax(-1, keepdim=True)
        top = here if top is None else torch.maximum(top, here)
        tops.append(top)
    return list(blocks), tops


@ATTENTION.mistake(
    "weights",
    "online softmax: output not rescaled",
    seen="out = out + torch.exp(s - new_max) @ v_block  # l is rescaled, out is not",
    symptom="Right in one block; with more, early keys weigh too much.",
    fix="When the maximum changes, which of the running quantities were made with the old one?",
    source="Dao et al. 2022, algorithm 1, arXiv:2205.14135",
    values=BLOCKS,
)
def _(s: State, size: int) -> State:
    blocks, tops = _blocks(s, size)
    total = torch.exp(s.masked - tops[-1]).sum(-1, keepdim=True)
    parts = [torch.exp(block - top) for block, top in zip(blocks, tops, strict=True)]
    return torch.cat(parts, -1) / total


@ATTENTION.mistake(
    "weights",
    "online softmax: sum not rescaled",
    seen="l = l + torch.exp(s - new_max).sum(-1)  # without exp(old_max - new_max)",
    symptom="Right in one block; with more, rows sum to less than 1.",
    fix="When the maximum changes, which of the running quantities were made with the old one?",
    source="Dao et al. 2022, algorithm 1, arXiv:2205.14135",
    values=BLOCKS,
)
def _(s: State, size: int) -> State:
    blocks, tops = _blocks(s, size)
    parts = [torch.exp(b - t).sum(-1, keepdim=True) for b, t in zip(blocks, tops, strict=True)]
    return torch.exp(s.masked - tops[-1]) / torch.stack(parts).sum(0)


@ATTENTION.mistake(
    "weights",
    "blocks averaged as equals",
    seen="out = torch.stack([attend(q, k_b, v_b) for …]).mean(0)",
    symptom="Each block is right, but one without a good key counts as much as the others.",
    fix="How much of the row's sum of exponentials lies in each block?",
    values=BLOCKS,
)
def _(s: State, size: int) -> State:
    blocks = s.masked.split(size, -1)
    return torch.cat([torch.softmax(block, -1) for block in blocks], -1) / len(blocks)


@ATTENTION.mistake(
    "weights",
    "the last, shorter block left out",
    seen="for i in range(kv_len // block): …",
    symptom="Right for lengths that the block divides; else the last keys are never seen.",
    fix="What happens to the rest when kv_len is no multiple of the block?",
    values=BLOCKS[1:],
)
def _(s: State, size: int) -> State:
    whole = s.masked.shape[-1] // size * size
    seen = torch.softmax(s.masked[..., :whole], -1)
    return torch.nn.functional.pad(seen, (0, s.masked.shape[-1] - whole))


# -- weighted sum --------------------------------------------------------------------------------


@ATTENTION.mistake(
    "context",
    "keys summed instead of values",
    seen="output = weights @ k",
    symptom="Changing a value changes nothing.",
    fix="Which of the three says what a position gives?",
)
def _(s: State) -> State:
    return s.weights @ s.key


@ATTENTION.mistake(
    "context",
    "weights transposed",
    seen="output = weights.transpose(-2, -1) @ v",
    symptom="Tokens gather from those that look at them. Needs as many queries as keys.",
    fix="Which axis of the weights is summed over?",
)
def _(s: State) -> State:
    return s.weights.transpose(-2, -1) @ s.value


@ATTENTION.mistake(
    "context",
    "query added to the output",
    seen="return q + weights @ v",
    symptom="The residual connection is there twice, or at the wrong place.",
    fix="Is the way around attention a matter of attention or of the block?",
)
def _(s: State) -> State:
    return s.query + s.weights @ s.value


@ATTENTION.mistake(
    "context",
    "weighted sum divided by the number of keys",
    seen="output = (weights.unsqueeze(-1) * v.unsqueeze(-3)).mean(-2)",
    symptom="Outputs shrink with the length of the text.",
    fix="The weights sum to 1 already: is it a mean still?",
)
def _(s: State) -> State:
    return s.weights @ s.value / s.kv_len
