"""Questions 1 to 7: why attention."""

import math

import torch
from torch import Tensor, nn

from eyeline.functional import attention
from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import no, normal, yes
from eyeline.nn import MultiHeadAttention

__all__ = ["QUESTIONS"]


def _recall() -> Values:
    """64 pairs, recalled by attention and from one matrix of fixed size, 16 × 16."""
    key = nn.functional.normalize(normal(64, 16), dim=-1)
    value = normal(64, 16, seed=1)
    read = attention(key[None], key[None], value[None], scale=100.0)[0]
    state = key.T @ value  # a sum of outer products: what a fixed-size memory can hold
    fixed = key @ state

    def share(found: Tensor) -> float:
        return float((torch.cdist(found, value).argmin(-1) == torch.arange(64)).double().mean())

    return {"attention": share(read), "fixed": share(fixed)}


def _gradients() -> Values:
    """How much of a gradient at the last of 32 tokens reaches the first, at initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lstm, attend = nn.LSTM(32, 32, batch_first=True), MultiHeadAttention(32, 4)

    def reached(run) -> float:
        x = normal(1, 32, 32).float().requires_grad_()
        run(x)[0, -1].sum().backward()
        assert x.grad is not None
        return float(x.grad[0, 0].norm() / x.grad[0, -1].norm())

    return {"lstm": reached(lambda x: lstm(x)[0]), "attention": reached(attend)}


def _depth() -> Values:
    """The longest chain of operations from input to output, for 8 and for 32 tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell, attend = nn.RNNCell(8, 8), MultiHeadAttention(8, 2)

    def rnn(x: Tensor) -> Tensor:
        state = torch.zeros(1, 8)
        for token in x.unbind(1):
            state = cell(token, state)
        return state

    def longest(output: Tensor) -> int:
        depth, waiting = 0, [output.grad_fn]
        while waiting := [
            n for fn in waiting if fn for n in {f for f, _ in fn.next_functions} if n
        ]:
            depth += 1
            waiting = list(set(waiting))
        return depth

    made = {}
    for length in (8, 32):
        x = normal(1, length, 8).float().requires_grad_()
        made[f"rnn_{length}"] = longest(rnn(x).sum())
        made[f"attention_{length}"] = longest(attend(x).sum())
    return made


def _states() -> Values:
    """Bytes that must be kept to write token 10,001: an LSTM's state, and a KV cache; float32."""
    lstm = 2 * 512 * 4
    cache = 2 * 10_000 * 512 * 4
    return {"lstm_kb": lstm / 1024, "cache_mb": cache / 1e6, "ratio": cache / lstm}


def _additive() -> Values:
    """Numbers in between, for 100 queries and 100 keys: additive scores have a hidden layer."""
    query, key = normal(100, 64), normal(100, 64, seed=1)
    hidden = torch.tanh(query[:, None] + key[None])  # [100, 100, 64]: additive attention
    return {"additive": hidden.numel(), "dot": (query @ key.T).numel()}


QUESTIONS = [
    Question(
        1,
        "A sequence-to-sequence model without attention hands its decoder one vector. "
        "What does attention fix?",
        "A vector of fixed size holds only so much. Of 64 pairs, attention recalls "
        "{attention:.0%}, a 16 × 16 memory {fixed:.0%}.",
        "practice 1 to 3",
        _recall,
        (
            yes(
                "The bottleneck: the decoder can look at every source vector, not at one summary",
                "What is read grows with the text; nothing must be squeezed into one vector.",
            ),
            no("It makes the encoder faster", "It is an additional computation, not a saving."),
            no(
                "It removes the need for a decoder",
                "There is still one; it is given better inputs.",
            ),
            no(
                "It makes the vector larger",
                "A larger vector only moves the limit: its size is still fixed in advance.",
            ),
        ),
        lambda v: v["attention"] > 0.99 and v["fixed"] < 0.8,
    ),
    Question(
        2,
        "What is the honest difference between an LSTM and attention over 32 tokens, "
        "before training?",
        "Of the gradient at the last token, {lstm:.1g} of it reaches the first through the LSTM, "
        "{attention:.2f} through attention. Trained LSTMs can learn long distances; what they lose "
        "on is how much they must carry at once.",
        "practice 8",
        _gradients,
        (
            yes(
                "Attention connects any two tokens in one step; an LSTM passes through all between",
                "Each step multiplies the gradient by something that is below 1 at the start.",
            ),
            no(
                "An LSTM cannot learn dependencies over 32 tokens",
                "It can, given training: distance alone is not what defeats it.",
            ),
            no(
                "Attention has more parameters",
                "At the same width it has about half of an LSTM's.",
            ),
            no("Attention knows the order better", "It knows none by itself; an LSTM does."),
        ),
        lambda v: v["lstm"] < 1e-3 < 0.1 < v["attention"],
    ),
    Question(
        3,
        "Why does training a Transformer use a GPU better than training an RNN?",
        "The longest chain of dependent operations grows from {rnn_8:.0f} to {rnn_32:.0f} "
        "in an RNN "
        "when 8 tokens become 32; in attention it stays at {attention_32:.0f}.",
        "practice 5",
        _depth,
        (
            yes(
                "No step has to wait for the step of the token before",
                "All positions are a few large matrix products; an RNN is one small one per token.",
            ),
            no(
                "It needs fewer operations",
                "It needs more as texts grow: the scores are quadratic in the length.",
            ),
            no("It needs less memory", "Training keeps the activations of all layers, as ever."),
            no(
                "Writing text is parallel as well",
                "Writing is one token after another: each needs the one before as its input.",
            ),
        ),
        lambda v: v["rnn_32"] > 3 * v["rnn_8"] and v["attention_8"] == v["attention_32"],
    ),
    Question(
        4,
        "A convolution of width 3 sees one token to each side. How many layers until the first of "
        "1,001 tokens can influence the last? (For attention it is 1.)",
        "Each layer carries information one token further: {answer:.0f} layers. A full attention "
        "layer needs one.",
        "practice 8",
        lambda: {"answer": math.ceil((1001 - 1) / 1)},
        unit="layers",
        within=0.01,
    ),
    Question(
        5,
        "When is an RNN the better choice?",
        "To write token 10,001 an LSTM of width 512 keeps {lstm_kb:.0f} kB, a layer's KV cache "
        "{cache_mb:.0f} MB: {ratio:,.0f} times as much, and growing.",
        "practice 23",
        _states,
        (
            yes(
                "When text never ends and memory per token must stay constant",
                "An RNN's state has one size; a KV cache grows with every token.",
            ),
            no(
                "When exact recall of something far back is asked for",
                "That is where a state of fixed size is weakest.",
            ),
            no(
                "When training data are plentiful",
                "Then the parallel training of attention counts the most.",
            ),
            no(
                "Never",
                "Constant memory per step is worth a lot at the edge and on endless streams.",
            ),
        ),
        lambda v: v["ratio"] > 1000,
    ),
    Question(
        6,
        "How many GB do the attention weights of ONE head take for 100,000 tokens in "
        "float16, if the "
        "table is made?",
        "100,000² weights of 2 bytes are {answer:.0f} GB: why nobody makes the table.",
        "practice 24",
        lambda: {"answer": 100_000**2 * torch.finfo(torch.float16).bits / 8 / 1e9},
        unit="GB",
    ),
    Question(
        7,
        "Additive attention (a small network scores each pair) came first. Why did the dot "
        "product win?",
        "For 100 × 100 pairs and a hidden layer of 64, additive scores make "
        "{additive:,.0f} numbers "
        "in between, the dot product {dot:,.0f}.",
        "practice 5",
        _additive,
        (
            yes(
                "It is one matrix product: nothing of size pairs × hidden is ever made",
                "Matrix products are what the hardware is built for.",
            ),
            no(
                "It is more expressive",
                "It is less: a network can score pairs in ways that no dot product can.",
            ),
            no(
                "It needs no learned parameters at all",
                "W_Q and W_K are learned, and they are many.",
            ),
            no(
                "It needs no scaling", "It is the one that does: its variance grows with the width."
            ),
        ),
        lambda v: v["additive"] == 64 * v["dot"],
    ),
]
