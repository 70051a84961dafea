"""Exercise 25: a whole Transformer block."""

import math

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
A block is attention, and a feed-forward network for each token, each with a residual around
it and a layer norm before it ("pre-norm", as in GPT-2 and all that came after):

    x = x + attention(norm_1(x))
    x = x + w_2 gelu(w_1 norm_2(x))

The residual carries x itself, not the normalised x. The norm divides by √(variance + eps):
eps is inside the root, and the variance is the mean of the squares, not divided by n - 1.

Your multi-head attention of exercise 16 is already in the file.
"""

# --- your file
import math

import torch
from torch import Tensor


def multi_head_attention(x: Tensor, weights: dict[str, Tensor], num_heads: int) -> Tensor:
    """Exercise 16."""

    def heads(name: str) -> Tensor:
        made = x @ weights[f"w_{name}"].T + weights[f"b_{name}"]
        return made.reshape(*x.shape[:2], num_heads, -1).transpose(1, 2)

    query, key, value = heads("q"), heads("k"), heads("v")
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    output = torch.softmax(scores, dim=-1) @ value
    return output.transpose(1, 2).reshape(x.shape) @ weights["w_o"].T + weights["b_o"]


def layer_norm(x: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Each token with mean 0 and variance 1, times gain, plus shift.

    Shapes:
        x [..., embed_dim], gain and shift [embed_dim] -> as x

    >>> layer_norm(torch.tensor([[1., 3.]]), torch.ones(2), torch.zeros(2), 0.0)
    tensor([[-1.,  1.]])
    """
    # solution
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * gain + shift
    # end


def block(x: Tensor, weights: dict[str, Tensor], num_heads: int, eps: float) -> Tensor:
    """A pre-norm block; weights: those of attention, norm_1_gain, norm_1_shift, norm_2_gain,
    norm_2_shift [embed_dim], w_1 [hidden, embed_dim], b_1, w_2 [embed_dim, hidden], b_2.

    Shapes:
        x [batch, length, embed_dim] -> as x
    """
    # solution
    normed = layer_norm(x, weights["norm_1_gain"], weights["norm_1_shift"], eps)
    x = x + multi_head_attention(normed, weights, num_heads)
    normed = layer_norm(x, weights["norm_2_gain"], weights["norm_2_shift"], eps)
    hidden = torch.nn.functional.gelu(normed @ weights["w_1"].T + weights["b_1"])
    return x + hidden @ weights["w_2"].T + weights["b_2"]
    # end


# --- end of your file


def _norm(x, gain, shift, eps, *, outside=False, unbiased=False, mean=True):
    middle = x.mean(-1, keepdim=True) if mean else 0
    variance = x.var(-1, keepdim=True, unbiased=unbiased)
    root = variance.sqrt() + eps if outside else (variance + eps).sqrt()
    return (x - middle) / root * gain + shift


def _variant(x, weights, num_heads, eps, *, post=False, carried="x", act="gelu", second=True):
    def norm(y: Tensor, which: int) -> Tensor:
        return layer_norm(y, weights[f"norm_{which}_gain"], weights[f"norm_{which}_shift"], eps)

    def attend(y: Tensor) -> Tensor:
        return multi_head_attention(y, weights, num_heads)

    def feed(y: Tensor) -> Tensor:
        hidden = y @ weights["w_1"].T + weights["b_1"]
        functions = {"gelu": torch.nn.functional.gelu, "relu": torch.relu, "none": lambda z: z}
        return functions[act](hidden) @ weights["w_2"].T + weights["b_2"]

    if post:
        x = norm(x + attend(x), 1)
        return norm(x + feed(x), 2)
    normed = norm(x, 1)
    x = (normed if carried == "normed" else x) + attend(normed)
    if carried == "none":
        x = attend(normed)
    normed = norm(x, 2)
    if not second:
        return feed(normed)
    return (normed if carried == "normed" else x) + feed(normed)


def probes(draw: Draw) -> list[Probe]:
    """A large eps, so that its place shows; gains and shifts that are nothing special."""
    width, hidden = 8, 12
    weights = {f"w_{n}": draw(width, width, scale=width**-0.5) for n in "qkvo"}
    weights |= {f"b_{n}": draw(width, scale=0.3) for n in "qkvo"}
    for which in (1, 2):
        weights[f"norm_{which}_gain"] = 1 + draw(width, scale=0.3)
        weights[f"norm_{which}_shift"] = draw(width, scale=0.3)
    weights |= {"w_1": draw(hidden, width, scale=0.5), "b_1": draw(hidden, scale=0.3)}
    weights |= {"w_2": draw(width, hidden, scale=0.5), "b_2": draw(width, scale=0.3)}
    norm = (draw(3, 8, scale=2), 1 + draw(8, scale=0.3), draw(8), 0.5)
    return [
        Probe(norm, function="layer_norm"),
        Probe((draw(2, 5, width, scale=1.5), weights, 2, 0.5)),
    ]


exercise = Exercise(
    title="A Transformer block",
    function="block",
    solution=block,
    others={"layer_norm": layer_norm},
    minutes=25,
    difficulty=2,
    story=STORY,
    hints=(
        "layer_norm first: subtract the mean of the last axis, divide by the root of "
        "variance + eps.",
        "Keep two names: x is carried on, normed is only what attention and the network read.",
        "x = x + multi_head_attention(layer_norm(x, …), …); then the same with the two "
        "matrices and "
        "torch.nn.functional.gelu between them.",
    ),
    probes=probes,
    axes=("batch", "position", "embed_dim"),
    without=("layer_norm_", "LayerNorm", "native_layer_norm"),
    mistakes=(
        Mistake(
            "a layer norm that divides by std + eps: eps outside the root",
            lambda *call: _norm(*call, outside=True),
            "Is eps added to the variance or to the standard deviation?",
            function="layer_norm",
        ),
        Mistake(
            "a layer norm with the variance divided by n - 1",
            lambda *call: _norm(*call, unbiased=True),
            "torch's var divides by n - 1 unless it is told not to. What should it divide by?",
            function="layer_norm",
        ),
        Mistake(
            "a norm that does not subtract the mean",
            lambda *call: _norm(*call, mean=False),
            "What is the mean of each token afterwards?",
            function="layer_norm",
        ),
        Mistake(
            "a post-norm block: the norm comes after the residual",
            lambda *call: _variant(*call, post=True),
            "What does attention read: x, or the normalised x?",
        ),
        Mistake(
            "a residual that carries the normalised x",
            lambda *call: _variant(*call, carried="normed"),
            "What is added to attention's output: x, or the normalised x?",
        ),
        Mistake(
            "a block without the first residual",
            lambda *call: _variant(*call, carried="none"),
            "What becomes of x where attention finds nothing?",
        ),
        Mistake(
            "a block without the second residual",
            lambda *call: _variant(*call, second=False),
            "What becomes of x behind the feed-forward network?",
        ),
        Mistake(
            "a block with relu instead of gelu",
            lambda *call: _variant(*call, act="relu"),
            "Which function stands between the two matrices?",
        ),
        Mistake(
            "a block without a function between the two matrices",
            lambda *call: _variant(*call, act="none"),
            "Two matrices in a row are one matrix. What stands between them?",
        ),
    ),
)
