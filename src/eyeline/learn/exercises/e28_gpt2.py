"""Exercise 28: a whole GPT-2 from its checkpoint's tensors."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
The last one: a real model from its weights. You get the tensors of a GPT-2 checkpoint by the
names that they have there, and make the logits. Four things are easy to miss:

- GPT-2 stores its matrices as "Conv1D": [in_features, out_features], so it is x W + b, not x
  Wᵀ + b;
- c_attn is query, key and value in one matrix, side by side;
- its gelu is the tanh approximation: torch.nn.functional.gelu(x, approximate="tanh");
- there is no output matrix: the logits are the last norm's output times the token embeddings
  wteᵀ.

    x = wte[tokens] + wpe[0 … length-1]
    in each block i:  x = x + attention(ln_1(x)),  x = x + c_proj(gelu(c_fc(ln_2(x))))
    logits = ln_f(x) wteᵀ
"""

# --- your file
import math

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm


def norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """GPT-2's layer norm; name is "h.0.ln_1", for example."""
    return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


def gpt2_logits(tokens: Tensor, weights: dict[str, Tensor], num_heads: int) -> Tensor:
    """How well each token of the vocabulary would stand next, at every position.

    weights: wte.weight, wpe.weight, ln_f.*, and for block i: h.i.ln_1.*, h.i.attn.c_attn.*,
    h.i.attn.c_proj.*, h.i.ln_2.*, h.i.mlp.c_fc.*, h.i.mlp.c_proj.* (each .weight and .bias).

    Shapes:
        tokens [batch, length] -> [batch, length, vocabulary]

    >>> weights = {"wte.weight": torch.eye(3), "wpe.weight": torch.zeros(2, 3)}
    >>> weights |= {"ln_f.weight": torch.ones(3), "ln_f.bias": torch.zeros(3)}
    >>> gpt2_logits(torch.tensor([[2, 0]]), weights, num_heads=1).argmax(-1)  # no blocks
    tensor([[2, 0]])
    """
    # solution
    batch, length = tokens.shape
    x = weights["wte.weight"][tokens] + weights["wpe.weight"][:length]
    may_see = torch.ones(length, length, dtype=torch.bool).tril()

    def conv(y: Tensor, name: str) -> Tensor:
        return y @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(y: Tensor) -> Tensor:
        return y.reshape(batch, length, num_heads, -1).transpose(1, 2)

    block = 0
    while f"h.{block}.ln_1.weight" in weights:
        at = f"h.{block}"
        mixed = conv(norm(x, weights, f"{at}.ln_1"), f"{at}.attn.c_attn")
        query, key, value = map(heads, mixed.chunk(3, dim=-1))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~may_see, -torch.inf)
        output = torch.softmax(scores, dim=-1) @ value
        x = x + conv(output.transpose(1, 2).reshape(x.shape), f"{at}.attn.c_proj")
        hidden = gelu(conv(norm(x, weights, f"{at}.ln_2"), f"{at}.mlp.c_fc"), approximate="tanh")
        x = x + conv(hidden, f"{at}.mlp.c_proj")
        block += 1
    return norm(x, weights, "ln_f") @ weights["wte.weight"].T
    # end


# --- end of your file


def _variant(
    tokens,
    weights,
    heads,
    *,
    approximate="tanh",
    square=False,
    order="qkv",
    causal=True,
    position=True,
    final=True,
    scale=True,
    split=True,
):
    batch, length = tokens.shape
    x = weights["wte.weight"][tokens]
    x = x + weights["wpe.weight"][:length] if position else x
    seen = torch.ones(length, length, dtype=torch.bool)
    seen = seen.tril() if causal else seen

    def conv(y, name):
        weight = weights[f"{name}.weight"]
        turned = square and weight.shape[0] == weight.shape[1]
        return y @ (weight.T if turned else weight) + weights[f"{name}.bias"]

    def cut(y):
        if not split:
            return y.reshape(batch, heads, length, -1)
        return y.reshape(batch, length, heads, -1).transpose(1, 2)

    block = 0
    while f"h.{block}.ln_1.weight" in weights:
        at = f"h.{block}"
        mixed = conv(norm(x, weights, f"{at}.ln_1"), f"{at}.attn.c_attn").chunk(3, -1)
        named = dict(zip(order, map(cut, mixed), strict=True))
        scores = named["q"] @ named["k"].mT
        scores = scores / math.sqrt(named["q"].shape[-1]) if scale else scores
        output = scores.masked_fill(~seen, -math.inf).softmax(-1) @ named["v"]
        output = output.transpose(1, 2) if split else output
        x = x + conv(output.reshape(x.shape), f"{at}.attn.c_proj")
        hidden = conv(norm(x, weights, f"{at}.ln_2"), f"{at}.mlp.c_fc")
        x = x + conv(gelu(hidden, approximate=approximate), f"{at}.mlp.c_proj")
        block += 1
    return (norm(x, weights, "ln_f") if final else x) @ weights["wte.weight"].T


def draw_gpt2(draw: Draw, width: int, blocks: int, vocabulary: int, length: int):
    """A GPT-2 with random weights, under the names of its checkpoints."""
    weights = {
        "wte.weight": draw(vocabulary, width),
        "wpe.weight": draw(length, width, scale=0.5),
    }
    shapes = {
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, 4 * width),
        "mlp.c_proj": (4 * width, width),
    }
    for name in [f"h.{i}.{ln}" for i in range(blocks) for ln in ("ln_1", "ln_2")] + ["ln_f"]:
        weights[f"{name}.weight"] = 1 + draw(width, scale=0.2)
        weights[f"{name}.bias"] = draw(width, scale=0.2)
    for i in range(blocks):
        for name, (rows, columns) in shapes.items():
            weights[f"h.{i}.{name}.weight"] = draw(rows, columns, scale=rows**-0.5)
            weights[f"h.{i}.{name}.bias"] = draw(columns, scale=0.3)
    return weights


def probes(draw: Draw) -> list[Probe]:
    """Two blocks, two heads; fewer tokens than there are positions."""
    return [Probe((draw.whole(11, 3, 5), draw_gpt2(draw, 8, 2, 11, 9), 2))]


exercise = Exercise(
    title="GPT-2 from its weights",
    function="gpt2_logits",
    solution=gpt2_logits,
    minutes=45,
    difficulty=3,
    story=STORY,
    hints=(
        "Begin with the embeddings, then write one block, then a loop over h.0, h.1, … while "
        '"h.i.ln_1.weight" is among the names.',
        "c_attn gives [batch, length, 3 * embed_dim]: .chunk(3, dim=-1) is query, key, "
        "value. Split "
        "the heads, attend causally (exercise 9), merge, c_proj.",
        'x @ weights[f"{name}.weight"] + weights[f"{name}.bias"] for every matrix; at the end '
        'norm(x, weights, "ln_f") @ weights["wte.weight"].T.',
    ),
    probes=probes,
    axes=("batch", "position", "vocabulary"),
    without=("scaled_dot_product_attention", "MultiheadAttention"),
    mistakes=(
        Mistake(
            "the exact gelu instead of the tanh approximation",
            lambda *call: _variant(*call, approximate="none"),
            "The numbers differ by little. Which gelu is it?",
        ),
        Mistake(
            "the square matrix of attention's c_proj transposed",
            lambda *call: _variant(*call, square=True),
            "Conv1D stores [in, out]. Only a square matrix lets itself be turned unnoticed.",
        ),
        Mistake(
            "c_attn read in the order key, query, value",
            lambda *call: _variant(*call, order="kqv"),
            "In which order do the three stand side by side?",
        ),
        Mistake(
            "a GPT-2 that sees the future",
            lambda *call: _variant(*call, causal=False),
            "What was exercise 9 about?",
        ),
        Mistake(
            "a GPT-2 without positions",
            lambda *call: _variant(*call, position=False),
            "What is wpe for?",
        ),
        Mistake(
            "a GPT-2 without the last norm",
            lambda *call: _variant(*call, final=False),
            "What is ln_f for?",
        ),
        Mistake(
            "a GPT-2 without scaling",
            lambda *call: _variant(*call, scale=False),
            "What was exercise 6 about?",
        ),
        Mistake(
            "heads split and merged without transpose",
            lambda *call: _variant(*call, split=False),
            "What were exercises 14 and 15 about? The shapes are the same.",
        ),
    ),
)
