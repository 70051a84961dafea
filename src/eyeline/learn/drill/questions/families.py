"""Questions 50 to 59: families of Transformers."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eyeline.functional import attention
from eyeline.learn.drill.question import Question, Values
from eyeline.learn.drill.questions._tools import no, normal, yes
from eyeline.nn import EncoderBlock, FeedForward, MultiHeadAttention
from eyeline.nn.watched import Kind, Vectors

__all__ = ["QUESTIONS"]


def _blocks(count: int, width: int = 32, *, norm_first: bool = True) -> nn.ModuleList:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.ModuleList(
            EncoderBlock(
                MultiHeadAttention(width, 4),
                FeedForward(width, 4 * width, "gelu"),
                partial(nn.LayerNorm, width),
                norm_first=norm_first,
            )
            for _ in range(count)
        )


def _last_to_first(is_causal: bool) -> float:
    blocks, x = _blocks(2), normal(1, 6, 32).float()
    changed = x.clone()
    changed[0, -1] *= -1  # a number added to all of it would be taken out by the norm
    pair = []
    with torch.no_grad():
        for start in (x, changed):
            for block in blocks:
                start = block(start, is_causal=is_causal)
            pair.append(start)
    return float((pair[0] - pair[1])[0, 0].abs().max())


def _families() -> Values:
    return {"encoder": _last_to_first(False), "decoder": _last_to_first(True)}


def _cross() -> Values:
    attend = MultiHeadAttention(32, 4)
    seen: list[tuple[int, int]] = []

    def observe(
        module: nn.Module, vectors: Vectors, again: Any, kind: Kind, call: dict[str, Any]
    ) -> Tensor:
        seen.append((vectors[0].shape[2], vectors[1].shape[2]))
        return attention(*vectors, **call)

    attend.observers = (observe,)
    with torch.no_grad():
        attend(normal(1, 4, 32).float(), normal(1, 9, 32).float())
    return {"queries": seen[0][0], "keys": seen[0][1]}


def _appended(is_causal: bool) -> float:
    blocks, x = _blocks(2), normal(1, 6, 32).float()
    ends = []
    with torch.no_grad():
        for length in (5, 6):
            y = x[:, :length]
            for block in blocks:
                y = block(y, is_causal=is_causal)
            ends.append(y[0, :5])
    return float((ends[0] - ends[1]).abs().max())


def _norm_places() -> Values:
    """How much of the input is left behind 24 blocks: cosine of output and input."""

    def left(norm_first: bool) -> float:
        blocks, x = _blocks(24, norm_first=norm_first), normal(2, 8, 32).float()
        generator = torch.Generator().manual_seed(0)
        output = x
        with torch.no_grad():
            for module in blocks.modules():
                if isinstance(module, nn.Linear):  # what a block adds is as large as its input
                    width = module.weight.shape[1]
                    nn.init.normal_(module.weight, std=width**-0.5, generator=generator)
            for block in blocks:
                output = block(output)
        return float(torch.cosine_similarity(output, x, dim=-1).mean())

    return {"pre": left(True), "post": left(False)}


def _rms() -> Values:
    x = normal(4, 32)
    centred = x - x.mean(-1, keepdim=True)

    def layer(y: Tensor) -> Tensor:
        return nn.functional.layer_norm(y, (32,))

    def rms(y: Tensor) -> Tensor:
        return nn.functional.rms_norm(y, (32,), eps=1e-5)

    return {
        "centred": float((layer(centred) - rms(centred)).abs().max()),
        "layer": float((layer(x + 5) - layer(x)).abs().max()),
        "rms": float((rms(x + 5) - rms(x)).abs().max()),
    }


def _alike(residual: bool) -> float:
    """Mean cosine similarity of 16 tokens behind 12 layers of attention alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [MultiHeadAttention(32, 4, bias=False) for _ in range(12)]
    x = normal(1, 16, 32).float()
    with torch.no_grad():
        for layer in layers:
            made = layer(nn.functional.layer_norm(x, (32,)))
            x = x + made if residual else made
    unit = nn.functional.normalize(x[0], dim=-1)
    return float((unit @ unit.T)[~torch.eye(16, dtype=torch.bool)].mean())


QUESTIONS = [
    Question(
        50,
        "The last token of a text is changed. Does the vector of the FIRST token change?",
        "By up to {encoder:.2f} in an encoder, by {decoder:.0f} in a decoder.",
        "practice 9",
        _families,
        (
            yes(
                "In an encoder (BERT) yes, in a decoder (GPT) no",
                "A decoder's tokens see only what came before: the causal mask.",
            ),
            no("In both", "The decoder's first token sees itself only."),
            no("In neither", "The encoder's first token sees everything."),
            no("In a decoder yes, in an encoder no", "It is the other way round."),
        ),
        lambda v: v["encoder"] > 1e-3 and v["decoder"] == 0,
    ),
    Question(
        51,
        "What are BERT and GPT trained to predict?",
        "BERT: the masked tokens, from both sides. GPT: each next token, from the left.",
        "docs/models.md",
        options=(
            yes(
                "BERT some masked tokens, GPT every next token",
                "So GPT learns from every position of a text, BERT from the 15 % that are masked.",
            ),
            no("Both the next token", "BERT sees both sides: the next token would be given away."),
            no(
                "BERT the next sentence only", "It was an additional task, later dropped (RoBERTa)."
            ),
            no("GPT masked tokens, BERT the next", "It is the other way round."),
        ),
    ),
    Question(
        52,
        "T5 reads 9 tokens and has written 4. What shape has one head's cross-attention table?",
        "{queries:.0f} queries from the decoder × {keys:.0f} keys from the encoder.",
        "practice 18",
        _cross,
        (
            yes("4 × 9", "The decoder asks, the encoder's tokens are asked."),
            no("9 × 4", "The encoder does not look at the decoder."),
            no("13 × 13", "That would be one joint self-attention, as in a decoder-only model."),
            no("4 × 4", "That is the decoder's self-attention."),
        ),
        lambda v: (v["queries"], v["keys"]) == (4, 9),
    ),
    Question(
        53,
        "Why are most large models decoder-only?",
        "One stack, one objective that uses every token, a cache that stays valid: simplicity won.",
        "docs/models.md",
        options=(
            yes(
                "Every position is trained on, and what was computed can be kept while writing",
                "An encoder must be run again whenever the text grows; its training uses fewer "
                "positions.",
            ),
            no("They are more expressive", "An encoder sees more: both sides."),
            no("Encoders cannot be scaled", "They can; T5 has 11 billion parameters."),
            no("They need no positions", "They use them as well."),
        ),
    ),
    Question(
        54,
        "Why is BERT bad at writing text token by token?",
        "One more token at the end: the vectors before it move by up to {bert:.2f} without "
        "a causal "
        "mask, by {gpt:.1g} with one.",
        "practice 23",
        lambda: {"bert": _appended(False), "gpt": _appended(True)},
        (
            yes(
                "Every new token changes all vectors before it: nothing can be kept",
                "And it was never trained to predict from the left alone.",
            ),
            no("It has no vocabulary", "It has one, and names masked tokens with it."),
            no("Its vectors are too small", "Width is not the matter."),
            no("It cannot attend to the last token", "It attends to all."),
        ),
        lambda v: v["bert"] > 1e-3 and v["gpt"] < 1e-5,
    ),
    Question(
        55,
        "Pre-norm or post-norm: what differs in a deep stack, before training?",
        "Cosine of the output of 24 blocks with their input: {pre:.2f} pre-norm, {post:.2f} "
        "post-norm.",
        "practice 25",
        _norm_places,
        (
            yes(
                "Pre-norm leaves the residual untouched: output = input + what the blocks add",
                "Post-norm rescales the sum in every block, and the input fades. Pre-norm "
                "also trains "
                "without warm-up (Xiong et al. 2020).",
            ),
            no("Post-norm has fewer parameters", "It has as many."),
            no("Pre-norm has no residual", "It has one, and never normalises it."),
            no("Nothing: order does not matter", "It decides what the residual carries."),
        ),
        lambda v: v["post"] < 0.5 * v["pre"],
    ),
    Question(
        56,
        "What does RMSNorm leave out, compared with LayerNorm?",
        "For vectors with mean 0 both agree to {centred:.1g}. Adding 5 to all numbers "
        "changes LayerNorm "
        "by {layer:.1g}, RMSNorm by {rms:.1f}.",
        "practice 25",
        _rms,
        (
            yes("Subtracting the mean", "It divides by the root mean square, and has no shift."),
            no("Dividing by the size", "That is all it does."),
            no("The learned gain", "It has one."),
            no("eps", "It has one, inside the root."),
        ),
        lambda v: v["centred"] < 1e-6 and v["layer"] < 1e-6 < 0.5 < v["rms"],
    ),
    Question(
        57,
        "What becomes of the tokens in many layers of attention without residuals?",
        "Mean cosine similarity of 16 random tokens after 12 layers: {without:.2f} without "
        "residuals, "
        "{with:.2f} with them.",
        "practice 25",
        lambda: {"without": _alike(False), "with": _alike(True)},
        (
            yes(
                "They become alike: each layer averages (rank collapse)",
                "Dong, Cordonnier and Loukas 2021. Residuals carry what is a token's own.",
            ),
            no("They explode", "Averages do not grow."),
            no("Nothing", "Each layer replaces each token by an average of all."),
            no("They become orthogonal", "They become parallel."),
        ),
        lambda v: v["without"] > 0.9 > v["with"],
    ),
    Question(
        58,
        "What does the feed-forward network do that attention does not?",
        "It is where most parameters are, and the nonlinearity that acts on each token's features.",
        "practice 25",
        options=(
            yes(
                "Changes each token by itself, nonlinearly in its features",
                "Attention mixes tokens, and its output is linear in the values. Two "
                "thirds of a block's "
                "parameters are here.",
            ),
            no("Mixes tokens", "It sees one token at a time."),
            no("Normalises", "That is the norm."),
            no("Adds positions", "It does not know them."),
        ),
    ),
    Question(
        59,
        "GPT-2 small: 50,257 tokens of width 768. How many million parameters does tying "
        "the output "
        "matrix to the embeddings save?",
        "{answer:.1f} million, of {all:.0f} without tying.",
        "practice 28",
        lambda: _tying(),
        unit="million",
        within=0.05,
    ),
]


def _tying() -> Values:
    """GPT-2 small in millions of parameters: what tying saves, and all without it."""
    from eyeline.models._unfilled import unfilled
    from eyeline.models.gpt2 import GPT2, GPT2Config

    def count(tied: bool) -> float:
        with unfilled():
            network = GPT2(GPT2Config(tie_embeddings=tied))
        return sum(p.numel() for p in network.parameters()) / 1e6

    return {"answer": count(False) - count(True), "all": count(False)}
