"""Questions 34 to 42: heads."""

import torch
from torch import Tensor

from eyeline.functional import attention, observe
from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import no, normal, yes
from eyeline.learn.rewards.subject import attending, subject
from eyeline.nn import MultiHeadAttention

__all__ = ["QUESTIONS"]


def _two_at_once() -> Values:
    """One head must average what two heads can keep apart."""
    key = torch.eye(8, dtype=torch.float64)[None, :2]
    value = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    swapped = value.flip(1)
    both = 50 * key.sum(1, keepdim=True)
    one = [attention(both, key, v) for v in (value, swapped)]
    two = [
        torch.cat([attention(50 * key[:, i : i + 1], key, v) for i in (0, 1)], -1)
        for v in (value, swapped)
    ]
    return {
        "one": float((one[0] - one[1]).abs().max()),
        "two": float((two[0] - two[1]).abs().max()),
    }


def _shape() -> Values:
    query = torch.zeros(2, 8, 10, 64 // 8)
    shape = observe(query, query, query)[1].shape
    return {"batch": shape[0], "heads": shape[1], "queries": shape[2], "keys": shape[3]}


def _mixing() -> Values:
    """Share of the output that moves when head 0 alone gives something else."""
    heads, width = 8, 64
    before, change = normal(1, width), torch.zeros(1, width, dtype=torch.float64)
    change[:, : width // heads] = 1
    w_o = normal(width, width, seed=1)

    def share(project) -> float:
        moved = (project(before + change) - project(before)).abs() > 1e-9
        return float(moved.double().mean())

    return {"without": share(lambda x: x), "with": share(lambda x: x @ w_o.T)}


def _parameters(heads: int) -> int:
    return sum(p.numel() for p in MultiHeadAttention(256, heads).parameters())


def _pruned() -> Values:
    """The shown layer's heads silenced one by one: how far the text's vectors move, relatively."""
    model = subject()
    own = model.read()
    moves = []
    for head in range(model.attentions[0].num_heads):

        def attend(
            query: Tensor, key: Tensor, value: Tensor, scale: float, silent: int = head
        ) -> Tensor:
            output = attention(query[None], key[None], value[None], scale=scale)[0].clone()
            output[silent] = 0
            return output

        with attending(model, attend, model.layer):
            moves.append(float((model.read() - own).norm() / own.norm()))
    moves.sort()
    return {"least": moves[0], "median": moves[len(moves) // 2], "most": moves[-1]}


def _induction() -> Values:
    """A B C … A: keys say which token stood before; the query asks for the current one."""
    tokens = torch.tensor([0, 1, 2, 3, 4, 0])
    embedding = torch.eye(5, dtype=torch.float64)
    previous = torch.zeros(6, 5, dtype=torch.float64)
    previous[1:] = embedding[tokens[:-1]]
    query, key = 20 * embedding[tokens[-1:]], previous
    weights = observe(query[None], key[None], key[None], scale=1.0)[1].dense()[0, 0, 0]
    return {"after": float(weights[1]), "position": float(weights.argmax())}


def _same_output() -> Values:
    """Other weights with the same output: there are 32 weights and 8 numbers to agree on."""
    weights, value = normal(1, 32).softmax(-1)[0], normal(32, 8, seed=1)
    constraints = torch.cat([value, torch.ones(32, 1, dtype=torch.float64)], -1).T
    other, live = weights.clone(), torch.ones(32, dtype=torch.bool)
    while int(live.sum()) > len(constraints):
        # a change that neither the output nor the sum of the weights can see
        direction = torch.linalg.svd(constraints[:, live]).Vh[-1]
        steps = other[live] / (-direction).clamp(min=1e-12)
        moved = other[live] + steps.min() * direction  # until one weight is 0
        moved[steps.argmin()] = 0
        other[live] = moved
        live = other > 0
    return {
        "moved": float((other - weights).abs().sum() / 2),
        "output": float((weights @ value - other @ value).abs().max()),
    }


def _sinks() -> Values:
    query, key = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 6, 4)
    ones = torch.ones(1, 1, 6, 1)
    plain = attention(query, key, ones)
    sunk = attention(query, key, ones, sinks=torch.tensor([4.0]))
    return {"plain": float(plain), "sunk": float(sunk)}


def _noisy_key() -> Values:
    """Key a comes in varying lengths: how the weight of a swings, with one head and with two."""
    a, b = torch.eye(2, dtype=torch.float64)
    shares = []
    for length in (0.7, 0.85, 1.0, 1.15, 1.3):
        keys = torch.stack([length * a, b])
        shares.append(float((keys @ (20 * (a + b))).softmax(-1)[0]))
    return {"least": min(shares), "most": max(shares)}


QUESTIONS = [
    Question(
        34,
        "Why several heads?",
        "Two values are exchanged: one head that looks at both gives the same sum (it moves by "
        "{one:.1g}), two heads side by side notice (by {two:.0f}).",
        "practice 16",
        _two_at_once,
        (
            yes(
                "One head gives one weighted average; several keep what they found apart",
                "An average of two values no longer says which was which.",
            ),
            no("More parameters", "The parameters are the same, however many heads."),
            no("Lower cost", "The operations are the same as well."),
            no("Each head reads another part of the sentence", "All heads see all tokens."),
        ),
        lambda v: v["one"] < 1e-9 < 0.9 < v["two"],
    ),
    Question(
        35,
        "batch 2, length 10, embed_dim 64, 8 heads. What shape have the attention weights?",
        "[{batch:.0f}, {heads:.0f}, {queries:.0f}, {keys:.0f}]: one table of query × key for each "
        "sentence and head.",
        "practice 14",
        _shape,
        (
            yes("[2, 8, 10, 10]", "batch, heads, queries, keys; no width is left."),
            no("[2, 10, 8, 8]", "Heads do not look at heads."),
            no("[2, 8, 10, 8]", "That is the output of each head: width 64 / 8."),
            no("[2, 10, 10]", "Each head has a table of its own."),
        ),
        lambda v: list(v.values()) == [2, 8, 10, 10],
    ),
    Question(
        36,
        "What is W_O for?",
        "Head 0 alone gives something else: {without:.3f} of the output moves without W_O, "
        "{with:.0f} "
        "with it.",
        "practice 16",
        _mixing,
        (
            yes(
                "It mixes the heads: each may write to the whole output",
                "Without it head i could only ever write to its own slice.",
            ),
            no("It restores the width", "Concatenated heads have the width already."),
            no("It normalises the output", "It is a plain matrix."),
            no("It adds a nonlinearity", "It is linear."),
        ),
        lambda v: v["without"] == 0.125 and v["with"] == 1,
    ),
    Question(
        37,
        "embed_dim stays 256. How many times as many parameters has attention with 16 "
        "heads as with 1?",
        "{answer:.0f}, that is as many: heads cut the same matrices into narrower pieces.",
        "practice 14",
        lambda: {"answer": _parameters(16) / _parameters(1)},
        within=0.01,
    ),
    Question(
        38,
        "Can heads be removed from a trained model?",
        "One layer's heads silenced one at a time move the text's vectors by {least:.1%} "
        "to {most:.1%} "
        "(median {median:.1%}): some matter little, some much.",
        "eyeline open, view What if",
        _pruned,
        (
            yes(
                "Many with little loss, but not any: their effects differ by far",
                "Michel et al. 2019 and Voita et al. 2019 found the same by pruning.",
            ),
            no("All but one", "Some change the output clearly."),
            no("None", "Some hardly change anything."),
            no("Those with the lowest entropy", "A sharp head may be the one that matters."),
        ),
        lambda v: v["most"] > 1.5 * v["least"],
    ),
    Question(
        39,
        "A B C D E A: what does an induction head look at from the last A?",
        "It gives {after:.3f} to position {position:.0f}: keys say which token stood "
        "before them, and "
        "the query asks for A.",
        "eyeline heads --model smollm2",
        _induction,
        (
            yes(
                "At B: the token after the earlier A",
                "So the model can predict that B comes again. It takes two layers to build.",
            ),
            no("At the earlier A", "That is a duplicate-token head."),
            no("At E, the token before", "That is a previous-token head, which induction needs."),
            no("At itself", "Then there would be nothing to copy."),
        ),
        lambda v: v["position"] == 1 and v["after"] > 0.99,
    ),
    Question(
        40,
        "A head gives 'animal' 66 %. Does that explain the model's output?",
        "For 32 tokens and values of width 8 there are weights that differ by {moved:.2f} (total "
        "variation) and give the same output to {output:.1g}.",
        "eyeline open, view What if",
        _same_output,
        (
            yes(
                "Not by itself: other weights can give the same output",
                "Jain and Wallace 2019; Wiegreffe and Pinter 2019 answer that they need "
                "not be ones "
                "that a model would learn. Intervene, then claim.",
            ),
            no("Yes, weights are importances", "Weights say what is read, not what it changes."),
            no("Yes, if the head is in the last layer", "Residuals and other heads act there too."),
            no("No: attention is random", "It is computed, exact and reproducible."),
        ),
        lambda v: v["moved"] > 0.4 and v["output"] < 1e-9,
    ),
    Question(
        41,
        "Why do many heads give most of their weight to the first token?",
        "Weights always sum to {plain:.0f}. With a learned sink (GPT-OSS) they may sum to less: "
        "{sunk:.2f} here.",
        "eyeline look TEXT --hide-sink",
        _sinks,
        (
            yes(
                "Softmax must put the weight somewhere when there is nothing to find",
                "A token that is always visible and whose value is small serves as the place.",
            ),
            no("The first token is the most important", "It is so with any first token."),
            no("The causal mask forces it", "Encoders do it as well, with [CLS] and [SEP]."),
            no("It is a rounding error", "It is exact, and trained models rely on it."),
        ),
        lambda v: abs(v["plain"] - 1) < 1e-6 and v["sunk"] < 0.5,
    ),
    Question(
        42,
        "One head averages a and b with a query along both keys. What if key a's length "
        "varies a little?",
        "Lengths from 0.7 to 1.3 swing the weight of a from {least:.3f} to {most:.3f}.",
        "practice 7",
        _noisy_key,
        (
            yes(
                "The weights swing from nearly all b to nearly all a",
                "The large scale that silences the rest magnifies the difference. Two "
                "heads, one for "
                "each, do not care.",
            ),
            no("Nothing: softmax normalises lengths away", "Scores grow with the key's length."),
            no("The output becomes 0", "The weights still sum to 1."),
            no("Both weights shrink alike", "They always sum to 1 together."),
        ),
        lambda v: v["least"] < 0.01 and v["most"] > 0.99,
    ),
]
