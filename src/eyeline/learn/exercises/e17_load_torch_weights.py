"""Exercise 17: the weights of torch.nn.MultiheadAttention."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
torch.nn.MultiheadAttention keeps W_Q, W_K and W_V in one matrix, in_proj_weight, one below
the other in this order. To run your layer with the weights of somebody else's, you must find
out how they are packed; getting the order wrong raises no error, for the shapes are the same.
"""

# --- your file
import torch
from torch import Tensor


def from_torch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a torch.nn.MultiheadAttention as the weights of exercise 16.

    Shapes:
        in_proj_weight [3 * embed_dim, embed_dim], in_proj_bias [3 * embed_dim],
        out_proj.weight [embed_dim, embed_dim], out_proj.bias [embed_dim]
        -> w_q, w_k, w_v, w_o [embed_dim, embed_dim], b_q, b_k, b_v, b_o [embed_dim]

    >>> state = torch.nn.MultiheadAttention(4, 2).state_dict()
    >>> sorted(from_torch(state))
    ['b_k', 'b_o', 'b_q', 'b_v', 'w_k', 'w_o', 'w_q', 'w_v']
    """
    # solution
    w_q, w_k, w_v = state["in_proj_weight"].chunk(3)
    b_q, b_k, b_v = state["in_proj_bias"].chunk(3)
    made = {"w_q": w_q, "w_k": w_k, "w_v": w_v, "b_q": b_q, "b_k": b_k, "b_v": b_v}
    return made | {"w_o": state["out_proj.weight"], "b_o": state["out_proj.bias"]}
    # end


# --- end of your file


def _order(state: dict[str, Tensor], order: str) -> dict[str, Tensor]:
    right = from_torch(state)
    return right | {
        f"{kind}_{name}": right[f"{kind}_{source}"]
        for kind in "wb"
        for name, source in zip("qkv", order, strict=True)
    }


def _interleaved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    made = from_torch(state)
    for index, name in enumerate("qkv"):
        made[f"w_{name}"] = state["in_proj_weight"][index::3]
        made[f"b_{name}"] = state["in_proj_bias"][index::3]
    return made


def _transposed(state: dict[str, Tensor], names: str) -> dict[str, Tensor]:
    made = from_torch(state)
    return made | {f"w_{name}": made[f"w_{name}"].T for name in names}


def probes(draw: Draw) -> list[Probe]:
    """Two widths."""
    return [
        Probe(
            (
                {
                    "in_proj_weight": draw(3 * width, width),
                    "in_proj_bias": draw(3 * width),
                    "out_proj.weight": draw(width, width),
                    "out_proj.bias": draw(width),
                },
            )
        )
        for width in (4, 6)
    ]


exercise = Exercise(
    title="Load the weights of torch.nn.MultiheadAttention",
    function="from_torch",
    solution=from_torch,
    minutes=10,
    difficulty=2,
    story=STORY,
    hints=(
        "The first embed_dim rows of in_proj_weight are W_Q. And then?",
        "tensor.chunk(3) cuts the first axis into three equal parts.",
        'w_q, w_k, w_v = state["in_proj_weight"].chunk(3), the biases alike; out_proj is W_O as it '
        "stands.",
    ),
    probes=probes,
    mistakes=(
        Mistake(
            "the packed weights read in the order key, query, value",
            lambda state: _order(state, "kqv"),
            "In which order are the three stacked?",
        ),
        Mistake(
            "the packed weights read in the order value, key, query",
            lambda state: _order(state, "vkq"),
            "In which order are the three stacked?",
        ),
        Mistake(
            "the packed weights read in the order query, value, key",
            lambda state: _order(state, "qvk"),
            "In which order are the three stacked?",
        ),
        Mistake(
            "every third row instead of three blocks",
            _interleaved,
            "One below the other: which rows are W_Q?",
        ),
        Mistake(
            "all matrices transposed",
            lambda state: _transposed(state, "qkvo"),
            "Both this layer and exercise 16 compute x Wᵀ + b. Is anything to be turned?",
        ),
        Mistake(
            "W_O transposed",
            lambda state: _transposed(state, "o"),
            "Both this layer and exercise 16 compute x Wᵀ + b. Is anything to be turned?",
        ),
    ),
)
