"""The Transformer: an encoder and a decoder of nothing but attention (Vaswani et al. 2017).

    encoder   x = √d · embedding + position;  in every block  x = norm(x + attention(x)),
                                                              x = norm(x + feed_forward(x))
    decoder   the same, causal, and between the two  x = norm(x + cross_attention(x, encoder's x))
    logits    x Eᵀ                                            E: the target's embeddings again

The blocks are those of `torch.nn.Transformer`, of which `KEYS` below gives the names.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eyeline.masks import Mask
from eyeline.models._config import Config, option
from eyeline.models._keys import KeyTable
from eyeline.nn import (
    BlockStack,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    KVCache,
    LayerNorm,
    MultiHeadAttention,
    SinusoidalPositions,
    linear,
)

__all__ = ["Transformer", "TransformerConfig"]


@dataclass(frozen=True)
class TransformerConfig(Config):
    """Sizes and switches; the defaults are the paper's base model.

    Attributes:
        source_vocab_size: Tokens of the source; default: source and target share one vocabulary,
            and its embeddings.
        norm_first: Norms before the sublayers instead of after the sums, and one at each end.
        final_norm: A norm behind the last block as well (`torch.nn.Transformer` has one).
        activation: Of the feed-forward network.
        attention_dropout: Of attention weights; the paper drops sublayers' outputs only.
        label_smoothing: Share of the target's probability that is spread over the vocabulary.
        start_token_id: What the decoder reads first; also the number that pads.
    """

    MODEL_TYPE = "eyeline-transformer"
    ARCHITECTURE = "Transformer"

    vocab_size: int = option(37000)
    source_vocab_size: int | None = option(None)
    embed_dim: int = option(512)
    num_layers: int = option(6)
    num_decoder_layers: int | None = option(None)
    num_heads: int = option(8)
    hidden_dim: int = option(2048)
    activation: str = option("relu")
    norm_first: bool = option(False)
    final_norm: bool = option(False)
    dropout: float = option(0.1)
    attention_dropout: float = option(0.0)
    hidden_dropout: float = option(0.0)
    label_smoothing: float = option(0.0)
    norm_eps: float = option(1e-5)
    pad_token_id: int | None = option(0)
    start_token_id: int = option(1)
    eos_token_id: int | tuple[int, ...] | None = option(2)


class Transformer(nn.Module):
    """The encoder–decoder of "Attention Is All You Need", with positions as sines and cosines.

    References:
        Vaswani et al. 2017, arXiv:1706.03762.
    """

    KEYS: ClassVar[KeyTable] = {"*": "*"}  # its checkpoints have the names of its parameters
    PREFIX = ""
    UNREAD = ()

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config, width = config, config.embed_dim
        self.tokens = nn.Embedding(config.vocab_size, width)
        if config.source_vocab_size is not None:
            self.source_tokens = nn.Embedding(config.source_vocab_size, width)
        self.positions, self.dropout = SinusoidalPositions(width), nn.Dropout(config.dropout)
        norm = partial(LayerNorm, width, config.norm_eps)
        attention = partial(
            MultiHeadAttention, width, config.num_heads, dropout=config.attention_dropout
        )
        hidden = partial(
            FeedForward, width, config.hidden_dim, config.activation, dropout=config.hidden_dropout
        )
        how: dict[str, Any] = {"norm_first": config.norm_first, "dropout": config.dropout}
        self.encoder = BlockStack(
            EncoderBlock(attention(), hidden(), norm, **how) for _ in range(config.num_layers)
        )
        self.decoder = BlockStack(
            DecoderBlock(attention(), attention(), hidden(), norm, **how)
            for _ in range(config.num_decoder_layers or config.num_layers)
        )
        ends = config.norm_first or config.final_norm
        self.encoder_norm = norm() if ends else nn.Identity()
        self.decoder_norm = norm() if ends else nn.Identity()
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for embedding in (m for m in self.modules() if isinstance(m, nn.Embedding)):
            nn.init.normal_(embedding.weight, std=width**-0.5)

    def forward(
        self,
        source: Int[Tensor, "batch source_length"],
        target: Int[Tensor, "batch target_length"],
        *,
        source_mask: Mask | None = None,
        target_mask: Mask | None = None,
    ) -> Float[Tensor, "batch target_length vocabulary"]:
        """Logits of the token after each token of the target.

        Args:
            source: What is read.
            target: What has been written, beginning with the start token.
            source_mask: Which of the source may be looked at (`masks.padding(lengths)`).
            target_mask: Which of the target, besides the causal rule.
        """
        memory = self.encode(source, attn_mask=source_mask)
        hidden = self.decode(target, memory, memory_mask=source_mask, attn_mask=target_mask)
        return self.logits(hidden)

    def encode(
        self, source: Int[Tensor, "batch length"], *, attn_mask: Mask | None = None
    ) -> Float[Tensor, "batch length width"]:
        """The source as the decoder looks at it."""
        table = self.tokens if self.config.source_vocab_size is None else self.source_tokens
        x = self._embed(table, source)
        return self.encoder_norm(self.encoder(x, attn_mask=attn_mask))

    def decode(
        self,
        target: Int[Tensor, "batch length"],
        memory: Float[Tensor, "batch source_length width"],
        *,
        memory_mask: Mask | None = None,
        attn_mask: Mask | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """What the head reads: the target, having looked at the memory."""
        x = self._embed(self.tokens, target, 0 if cache is None else cache.length)
        how: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": True, "cache": cache}
        return self.decoder_norm(self.decoder(x, memory, memory_mask=memory_mask, **how))

    def _embed(self, table: nn.Embedding, tokens: Tensor, first: int = 0) -> Tensor:
        places = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        x = table(tokens) * math.sqrt(self.config.embed_dim)
        return self.dropout(x + self.positions(places).to(x.dtype))

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        """The head: how well each token of the vocabulary would go on."""
        return linear(hidden, self.tokens.weight)

    def loss(
        self, source: Int[Tensor, "batch source_length"], labels: Int[Tensor, "batch length"], **how
    ) -> Float[Tensor, ""]:
        """Mean surprise at the labels, in nats (with label smoothing, if the config says so).

        Args:
            source: What is read.
            labels: What is to be written, the end token included; -100 is not counted.
            how: Masks, as in `forward`.
        """
        logits = self.forward(source, self.shifted(labels), **how)
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), label_smoothing=self.config.label_smoothing
        )

    def shifted(self, labels: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
        """What the decoder reads to write the labels: the start token, and all but the last."""
        start = labels.new_full((len(labels), 1), self.config.start_token_id)
        known = labels[:, :-1].masked_fill(labels[:, :-1] == -100, self.config.pad_token_id or 0)
        return torch.cat([start, known], 1)
