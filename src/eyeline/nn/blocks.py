"""Blocks: attention and feed-forward, each with a norm and a way around it (the residual).

before (GPT-2, T5, Llama):        x = x + sublayer(norm(x))
after (Vaswani et al., BERT):     x = norm(x + sublayer(x))
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from eyeline.masks import Mask
from eyeline.nn.kv_cache import KVCache, LayerCache
from eyeline.nn.multi_head_attention import MultiHeadAttention

__all__ = ["BlockStack", "DecoderBlock", "EncoderBlock"]


class EncoderBlock(nn.Module):
    """Self-attention, then the feed-forward network. With `is_causal`, a block of a GPT.

    Args:
        attention: The self-attention.
        feed_forward: The feed-forward network.
        norm: Makes a norm.
        norm_first: Norms stand before the sublayers, or behind the sums.
        dropout: Probability of dropping a number that a sublayer gives, in training.

    References:
        Vaswani et al. 2017, section 3.1, arXiv:1706.03762. Before or after: Xiong et al. 2020,
        arXiv:2002.04745.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: nn.Module,
        norm: Callable[[], nn.Module],
        *,
        norm_first: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention, self.attention_norm = attention, norm()
        self.feed_forward, self.feed_forward_norm = feed_forward, norm()
        self.norm_first, self.dropout = norm_first, nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch length width"], **how: Any
    ) -> Float[Tensor, "batch length width"]:
        """One block.

        Args:
            x: The tokens.
            how: `attn_mask`, `is_causal`, `bias`, `rotary`, `cache` of `MultiHeadAttention`.
        """
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), **how))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, **how)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to a memory, then the feed-forward network.

    Args:
        attention: The self-attention.
        cross_attention: The attention to the memory (the encoder's output).
        feed_forward: The feed-forward network.
        norm: Makes a norm.
        norm_first: Norms stand before the sublayers, or behind the sums.
        dropout: Probability of dropping a number that a sublayer gives, in training.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        feed_forward: nn.Module,
        norm: Callable[[], nn.Module],
        *,
        norm_first: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention, self.attention_norm = attention, norm()
        self.cross_attention, self.cross_attention_norm = cross_attention, norm()
        self.feed_forward, self.feed_forward_norm = feed_forward, norm()
        self.norm_first, self.dropout = norm_first, nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        memory: Float[Tensor, "batch kv_len kv_dim"] | None,
        *,
        memory_mask: Mask | Tensor | None = None,
        memory_cache: LayerCache | None = None,
        **how: Any,
    ) -> Float[Tensor, "batch length width"]:
        """One block.

        Args:
            x: The tokens.
            memory: What cross-attention looks at; None leaves it out.
            memory_mask: Which of the memory may be looked at.
            memory_cache: Keeps keys and values of the memory from call to call.
            how: Of the self-attention, as in `EncoderBlock`.
        """
        cross: dict[str, Any] = {"attn_mask": memory_mask, "cache": memory_cache}
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), **how))
            if memory is not None:
                seen = self.cross_attention(self.cross_attention_norm(x), memory, **cross)
                x = x + self.dropout(seen)
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, **how)))
        if memory is not None:
            seen = self.cross_attention(x, memory, **cross)
            x = self.cross_attention_norm(x + self.dropout(seen))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class BlockStack(nn.ModuleList):
    """Blocks one after the other, each with its own place in the cache."""

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        memory: Float[Tensor, "batch kv_len kv_dim"] | None = None,
        *,
        memory_mask: Mask | Tensor | None = None,
        cache: KVCache | None = None,
        **how: Any,
    ) -> Float[Tensor, "batch length width"]:
        """All blocks.

        Args:
            x: The tokens.
            memory: What the cross-attention of `DecoderBlock`s looks at.
            memory_mask: Which of the memory may be looked at.
            cache: Keys and values of earlier tokens.
            how: Of the self-attention: `attn_mask`, `is_causal`, `bias`, `rotary`.
        """
        for layer, block in enumerate(self):
            own = None if cache is None else cache[layer]
            if isinstance(block, DecoderBlock):
                kept = None if cache is None else cache.cross[layer]
                x = block(x, memory, memory_mask=memory_mask, memory_cache=kept, cache=own, **how)
            else:
                x = block(x, cache=own, **how)
        return x
