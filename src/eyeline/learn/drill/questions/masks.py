"""Questions 25 to 33: masks."""

import torch
from torch import Tensor

from eyeline import masks
from eyeline.functional import attention
from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import allowed, no, normal, yes

__all__ = ["QUESTIONS"]


def _after_softmax() -> Values:
    seen = allowed(masks.causal(), 6, 6)
    weights = normal(6, 6).softmax(-1)
    return {"first": float((weights * seen).sum(-1)[0]), "last": float((weights * seen).sum(-1)[5])}


def _fills() -> Values:
    """A row in which nothing may be seen, filled with -1e9; and what -1e9 is in float16."""
    scores = normal(1, 5)
    filled = scores.masked_fill(torch.ones(1, 5, dtype=torch.bool), -1e9).softmax(-1)
    return {"share": float(filled.max()), "half": float(torch.tensor(-1e9).half())}


def _padding() -> Values:
    query, key, value = (normal(1, 1, 5, 8, seed=s) for s in range(3))
    other = value.clone()
    other[..., 3:, :] += 100  # what stands at the padding

    def moved(mask: masks.Mask | None) -> float:
        pair = [attention(query, key, v, attn_mask=mask) for v in (value, other)]
        return float((pair[0] - pair[1])[..., :3, :].abs().max())

    rows = masks.dense((torch.arange(5) < 3)[:, None].expand(5, 5))
    return {"none": moved(None), "keys": moved(masks.padding([3])), "queries": moved(rows)}


def _nothing_seen() -> Values:
    query, key, value = (normal(1, 1, 2, 4, seed=s) for s in range(3))
    hidden = torch.zeros(2, 2, dtype=torch.bool)
    plain = (query @ key.mT / 2).masked_fill(~hidden, -torch.inf).softmax(-1) @ value
    ours = attention(query, key, value, attn_mask=hidden)
    return {"plain_nan": float(plain.isnan().all()), "ours": float(ours.abs().max())}


def _cached() -> Values:
    query, key, value = normal(1, 1, 1, 8), normal(1, 1, 5, 8, seed=1), normal(1, 1, 5, 8, seed=2)
    flag = attention(query, key, value, is_causal=True)
    right = attention(query, key, value, attn_mask=masks.causal(offset=4))
    return {
        "from_first": float((flag - value[..., :1, :]).abs().max()),
        "from_right": float((flag - right).abs().max()),
    }


def _leak() -> Values:
    """How far the output at position 3 moves with the token at 3, and with the token at 4."""
    x = normal(1, 6, 8)

    def moved(position: int) -> float:
        changed = x.clone()
        changed[0, position] += 1
        pair = [attention(y[None], y[None], y[None], is_causal=True)[0] for y in (x, changed)]
        return float((pair[0] - pair[1])[0, 3].abs().max())

    return {"itself": moved(3), "next": moved(4)}


def _prefix() -> Values:
    both = float(allowed(masks.causal() | masks.prefix(4), 10, 10).sum())
    causal = float(allowed(masks.causal(), 10, 10).sum())
    return {"answer": both, "causal": causal, "more": both - causal}


def _reach(window: int, layers: int) -> float:
    """How many tokens back the last one can be influenced from."""
    seen = allowed(masks.causal() & masks.sliding_window((window - 1, 0)), 40, 40).long()
    through: Tensor = torch.linalg.matrix_power(seen.double(), layers)
    return 39 - float((through[39] > 0).nonzero().min())


QUESTIONS = [
    Question(
        25,
        "8 tokens, causal mask: how many of the 64 scores may be used?",
        "masks.causal() leaves {answer:.0f}: n (n + 1) / 2.",
        "practice 9",
        lambda: {"answer": float(allowed(masks.causal(), 8, 8).sum())},
        within=0.01,
    ),
    Question(
        26,
        "Why is a mask applied before softmax, and not to the weights?",
        "Masked afterwards, the first of 6 rows sums to {first:.2f}, the last to {last:.2f}.",
        "practice 9",
        _after_softmax,
        (
            yes(
                "Rows must sum to 1 over what may be seen",
                "Afterwards the hidden keys' share is missing, and it depended on their scores.",
            ),
            no("It is faster", "It takes the same work."),
            no(
                "The gradient would be wrong after softmax",
                "It would be the right gradient of another function.",
            ),
            no("There is no difference", "There is, unless the rows are normalised again."),
        ),
        lambda v: v["first"] < 0.9 and abs(v["last"] - 1) < 1e-9,
    ),
    Question(
        27,
        "What is the risk of -1e9 instead of -inf for hidden scores?",
        "A row in which all is hidden gives each of 5 keys {share:.2f}; and in float16 "
        "-1e9 is {half}.",
        "practice 12",
        _fills,
        (
            yes(
                "A row in which everything is hidden silently becomes an average of it all",
                "All scores are equal then, and softmax compares only.",
            ),
            no("exp(-1e9) is not small enough", "It is 0 in every format."),
            no("Training becomes slower", "It costs the same."),
            no("None: they are the same", "Until a row sees nothing."),
        ),
        lambda v: abs(v["share"] - 0.2) < 1e-9 and v["half"] == -torch.inf,
    ),
    Question(
        28,
        "A batch is padded. What must the mask hide?",
        "What stands at the padding moves real outputs by {none:.0f} without a mask, by "
        "{keys:.0f} with "
        "keys hidden, by {queries:.0f} with queries hidden.",
        "practice 11",
        _padding,
        (
            yes(
                "The padded keys, from every query",
                "Then nothing at a padded position can reach a real one.",
            ),
            no("The padded queries", "Their outputs are not read; their keys still are."),
            no("The padded values only", "Their keys would still take weight away."),
            no("Nothing: PAD's vector is learned to be 0", "0 still takes weight: exp(0) is 1."),
        ),
        lambda v: v["keys"] == 0 and v["none"] > 1 and v["queries"] > 1,
    ),
    Question(
        29,
        "A query may see no key at all. What should its output be?",
        "Plain softmax gives NaN (share of NaN: {plain_nan:.0%}); eyeline, like "
        "flash-attention and "
        "torch's safe softmax, gives {ours:.0f}.",
        "practice 12",
        _nothing_seen,
        (
            yes("0", "An empty sum. And its gradient is 0 as well."),
            no("NaN", "What a plain implementation gives; it spreads at the next layer."),
            no("The average of all values", "That reads what was hidden."),
            no("The value of the first key", "That reads what was hidden."),
        ),
        lambda v: v["plain_nan"] == 1 and v["ours"] == 0,
    ),
    Question(
        30,
        "One new query, 5 keys in the cache, torch's is_causal=True. What comes out?",
        "It differs from the first value by {from_first:.0f}, from the right answer by "
        "{from_right:.2f}: is_causal aligns at the top left.",
        "practice 10",
        _cached,
        (
            yes(
                "The first value: the query is taken for position 0",
                "tril of a [1, 5] table leaves one key. masks.causal(offset=4) is what was meant.",
            ),
            no("Attention to all five keys", "That would be alignment at the bottom right."),
            no("An error", "Nothing complains."),
            no("The last value", "The corner is at the top left, not at the bottom right."),
        ),
        lambda v: v["from_first"] == 0 < v["from_right"],
    ),
    Question(
        31,
        "A prefix-LM with 10 tokens and a prefix of 4: how many of the 100 pairs may look?",
        "masks.causal() | masks.prefix(4) allows {answer:.0f}: the causal {causal:.0f}, "
        "and {more:.0f} more in the prefix.",
        "practice 9",
        _prefix,
        within=0.01,
    ),
    Question(
        32,
        "A language model is trained with logits[t] compared to token[t]. The loss falls "
        "to 0. Why?",
        "The output at position 3 moves by {itself:.2f} with token 3, by {next:.0f} with token 4.",
        "practice 26",
        _leak,
        (
            yes(
                "Position t sees token t: it copies. The labels must be shifted by one",
                "The causal mask hides what comes after t, not t itself.",
            ),
            no("The causal mask is missing", "It is there, and does not hide the token itself."),
            no("The learning rate is too high", "A wrong target is learned at any rate."),
            no(
                "Teacher forcing is switched off",
                "Teacher forcing is why the answer is there at all.",
            ),
        ),
        lambda v: v["itself"] > 0.1 and v["next"] == 0,
    ),
    Question(
        33,
        "Each token sees itself and the 3 before it (window 4). From how many tokens back can "
        "information come after 3 layers?",
        "{answer:.0f}: each layer carries it 3 further.",
        "practice 9",
        lambda: {"answer": _reach(4, 3)},
        within=0.01,
    ),
]
