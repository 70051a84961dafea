"""Multi-head attention: what every Transformer here is built from.

query, key, value = x W_Q, x W_K, x W_V         cut into heads
output            = attention(query, key, value) of each head, side by side, times W_O
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline import masks
from eyeline.biases import Bias
from eyeline.masks import Mask
from eyeline.nn.kv_cache import LayerCache
from eyeline.nn.linear import Linear
from eyeline.nn.rotary import Angles
from eyeline.nn.watched import Vectors, Watched
from eyeline.rotary import apply_rotary

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Watched):
    r"""Several attentions side by side, each over vectors of its own.

    $$\mathrm{MultiHead}(x, m) = \mathrm{Concat}(\mathrm{head}_1, …, \mathrm{head}_h) W^O,\quad
    \mathrm{head}_i = \mathrm{Attention}(x W^Q_i, m W^K_i, m W^V_i)$$

    Args:
        embed_dim: Width of the tokens.
        num_heads: How many heads.
        num_kv_heads: Heads of keys and values; `num_heads / num_kv_heads` query heads share one
            (grouped-query attention; 1 is multi-query attention). Default: `num_heads`.
        head_dim: Width of a head. Default: `embed_dim / num_heads`.
        kv_dim: Width of what keys and values are made of. Default: `embed_dim`.
        bias: Whether the four projections have biases.
        dropout: Probability of dropping a weight, in training.
        scale: Multiplies the scores. Default: `1 / sqrt(head_dim)`.
        softcap: No score beyond this, see `eyeline.attention`.

    References:
        Vaswani et al. 2017, section 3.2.2, arXiv:1706.03762. Grouped queries: Ainslie et al. 2023,
        arXiv:2305.13245.

    Example:
        >>> import torch
        >>> from eyeline.nn import MultiHeadAttention
        >>> MultiHeadAttention(64, num_heads=4)(torch.randn(2, 10, 64), is_causal=True).shape
        torch.Size([2, 10, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        kv_dim: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        scale: float | None = None,
        softcap: float | None = None,
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if head_dim is None and embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        if num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads {num_heads} is not a multiple of num_kv_heads {num_kv_heads}"
            )
        self.head_dim = embed_dim // num_heads if head_dim is None else head_dim
        self.dropout, self.scale, self.softcap = dropout, scale, softcap
        kv_dim = embed_dim if kv_dim is None else kv_dim
        self.q_proj = Linear(embed_dim, num_heads * self.head_dim, bias)
        self.k_proj = Linear(kv_dim, self.num_kv_heads * self.head_dim, bias)
        self.v_proj = Linear(kv_dim, self.num_kv_heads * self.head_dim, bias)
        self.o_proj = Linear(num_heads * self.head_dim, embed_dim, bias)

    def forward(
        self,
        x: Float[Tensor, "batch q_len embed_dim"],
        memory: Float[Tensor, "batch kv_len kv_dim"] | None = None,
        *,
        attn_mask: Mask | Tensor | None = None,
        is_causal: bool = False,
        bias: Bias | Tensor | None = None,
        rotary: Angles | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch q_len embed_dim"]:
        """Attend from `x` to `memory`, or to `x` itself.

        Args:
            x: What queries are made of.
            memory: What keys and values are made of (cross-attention). Default: `x`.
            attn_mask: Who may look at whom, over all keys, those in the cache included; True = may
                attend. As in `eyeline.attention`.
            is_causal: A token sees itself and those before it, whatever is in the cache.
            bias: Added to the scores: `Alibi`, `RelativeBias`, or a tensor.
            rotary: The angles of the tokens of `x`, from `Rotary`.
            cache: Keys and values of earlier tokens; those of `x` are appended. With `memory`:
                what was made of it at the first call is used again.
        """
        cross = memory is not None
        if cross and rotary is not None:
            raise ValueError("rotary positions are of one sequence: not for cross-attention")
        if cross and cache is not None and cache.length:
            query = self._heads(self.q_proj(x), self.num_heads)
            key, value = cache.contents
            again = "keys and values were kept from an earlier call"
        else:
            again = partial(self.project, x, memory, rotary)
            query, key, value = again()
            if cache is not None:
                key, value = cache.append(key, value)
                again = "a cache holds the earlier keys"
        kind = "cross" if cross else "decoder" if is_causal else "encoder"
        length = query.shape[2]
        earlier = 0 if cross else key.shape[2] - length
        if is_causal and earlier:
            is_causal = False
            if length > 1:  # one query, the last token, sees everything
                past = masks.causal(offset=earlier)
                attn_mask = past if attn_mask is None else past & _as_mask(attn_mask)
        output = self.attend(
            (query, key, value),
            again,
            kind,
            attn_mask=attn_mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
            scale=self.scale,
            enable_gqa=self.num_heads != self.num_kv_heads,
            bias=bias,
            softcap=self.softcap,
        )
        return self.o_proj(output.transpose(1, 2).flatten(2))

    def project(
        self,
        x: Float[Tensor, "batch q_len embed_dim"],
        memory: Float[Tensor, "batch kv_len kv_dim"] | None = None,
        rotary: Angles | None = None,
    ) -> Vectors:
        """Query, key and value of each head: `[batch, heads, length, head_dim]`."""
        source = x if memory is None else memory
        query = self._heads(self.q_proj(x), self.num_heads)
        key = self._heads(self.k_proj(source), self.num_kv_heads)
        value = self._heads(self.v_proj(source), self.num_kv_heads)
        if rotary is not None:
            query, key = (apply_rotary(side, *rotary) for side in (query, key))
        return query, key, value

    def _heads(self, x: Tensor, num_heads: int) -> Tensor:
        return x.view(*x.shape[:2], num_heads, self.head_dim).transpose(1, 2)

    def extra_repr(self) -> str:
        groups = ""
        if self.num_kv_heads != self.num_heads:
            groups = f", num_kv_heads={self.num_kv_heads}"
        return f"{self.embed_dim}, num_heads={self.num_heads}, head_dim={self.head_dim}{groups}"


def _as_mask(attn_mask: Mask | Tensor) -> Mask:
    if isinstance(attn_mask, Mask):
        return attn_mask
    if attn_mask.dtype == torch.bool:
        return masks.dense(attn_mask)
    raise TypeError("with is_causal and a cache attn_mask is a Mask or bool; give numbers as bias")
