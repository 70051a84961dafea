"""The feed-forward network of a block: each token by itself, wide and narrow again."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from eyeline.nn.linear import Linear

__all__ = ["ACTIVATIONS", "FeedForward", "GatedFeedForward"]


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _squared_relu(x: Tensor) -> Tensor:
    return functional.relu(x).square()


def _same(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "quick_gelu": _quick_gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "squared_relu": _squared_relu,
    "relu6": functional.relu6,
    "leaky_relu": functional.leaky_relu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "linear": _same,
}
"""Name → function. `gelu` is exact, with the error function; `gelu_tanh` is its approximation."""


class FeedForward(nn.Module):
    r"""$W_2\,f(W_1 x + b_1) + b_2$, with dropout before $W_2$.

    Args:
        embed_dim: Width of the tokens.
        hidden_dim: Width between the two.
        activation: A name of `ACTIVATIONS`.
        bias: Whether there are b_1 and b_2.
        dropout: Probability of dropping a number between the two, in training.

    References:
        Vaswani et al. 2017, equation 2, arXiv:1706.03762. GELU: Hendrycks and Gimpel 2016,
        arXiv:1606.08415.
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        activation: str = "gelu",
        *,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.up_proj = Linear(embed_dim, hidden_dim, bias)
        self.down_proj = Linear(hidden_dim, embed_dim, bias)
        self.activation = activation
        self.function = _activation(activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch embed_dim"]) -> Float[Tensor, "*batch embed_dim"]:
        return self.down_proj(self.dropout(self.function(self.up_proj(x))))

    def extra_repr(self) -> str:
        return self.activation


class GatedFeedForward(nn.Module):
    r"""$W_{down}\,(f(W_{gate} x) \odot W_{up} x)$, with dropout before $W_{down}$.

    Args:
        embed_dim: Width of the tokens.
        hidden_dim: Width between.
        activation: A name of `ACTIVATIONS`: "silu" makes SwiGLU (Llama), "gelu_tanh" GEGLU (T5).
        bias: Whether the projections have biases.
        dropout: Probability of dropping a number between, in training.

    References:
        Shazeer 2020, arXiv:2002.05202.
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        activation: str = "silu",
        *,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.gate_proj = Linear(embed_dim, hidden_dim, bias)
        self.up_proj = Linear(embed_dim, hidden_dim, bias)
        self.down_proj = Linear(hidden_dim, embed_dim, bias)
        self.activation = activation
        self.function = _activation(activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch embed_dim"]) -> Float[Tensor, "*batch embed_dim"]:
        return self.down_proj(self.dropout(self.function(self.gate_proj(x)) * self.up_proj(x)))

    def extra_repr(self) -> str:
        return self.activation


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is unknown; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
