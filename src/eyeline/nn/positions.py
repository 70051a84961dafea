"""Where a token stands, as a vector that is added to its embedding."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["LearnedPositions", "SinusoidalPositions"]


class LearnedPositions(nn.Embedding):
    """One learned vector per position (BERT, GPT-2).

    Args:
        max_length: How many positions there are.
        embed_dim: Width of the vectors.
    """

    def __init__(self, max_length: int, embed_dim: int) -> None:
        super().__init__(max_length, embed_dim)

    def forward(self, input: Int[Tensor, "*batch length"]) -> Float[Tensor, "*batch length width"]:
        """The vectors of these positions.

        Raises:
            ValueError: A position has no vector.
        """
        if not torch.compiler.is_compiling() and input.numel():
            last = int(input.max())
            if last >= self.num_embeddings:
                raise ValueError(
                    f"position {last} has no vector: this model reads {self.num_embeddings} tokens"
                )
        return super().forward(input)


class SinusoidalPositions(nn.Module):
    r"""Sines and cosines of the position, from fast to slow; nothing is learned.

    $$PE_{p,2i} = \sin(p / 10000^{2i/d}), \quad PE_{p,2i+1} = \cos(p / 10000^{2i/d})$$

    Args:
        embed_dim: Width of the vectors, even.

    References:
        Vaswani et al. 2017, section 3.5, arXiv:1706.03762.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        if embed_dim % 2:
            raise ValueError(f"sines and cosines come in pairs: embed_dim {embed_dim} is odd")
        self.embed_dim = embed_dim

    def forward(self, input: Int[Tensor, "*batch length"]) -> Float[Tensor, "*batch length width"]:
        pairs = torch.arange(0, self.embed_dim, 2, device=input.device).float()
        frequencies = torch.exp(pairs * (-math.log(10000.0) / self.embed_dim))
        angles = input[..., None].float() * frequencies
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}"
