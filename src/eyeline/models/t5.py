"""T5: an encoder–decoder whose positions are a learned bias on the scores (Raffel et al. 2019).

    x = x + attention(norm(x)),  x = x + feed_forward(norm(x))        norms divide by the root mean
    scores = q · k + bias[bucket of j − i]                            square only; scores not by √d
    logits = norm(x) Eᵀ / √d                                          E: the token embeddings again

All layers of a stack share one table of biases; cross-attention has none.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eyeline.biases import RelativeBias
from eyeline.masks import Mask
from eyeline.models._config import Config, ConfigError, activation, option
from eyeline.models._hf_names import t5
from eyeline.models._keys import KeyTable
from eyeline.nn import (
    BlockStack,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    GatedFeedForward,
    KVCache,
    Linear,
    MultiHeadAttention,
    RMSNorm,
    linear,
)

__all__ = ["T5", "T5Config"]


@dataclass(frozen=True)
class T5Config(Config):
    """Sizes and switches; the defaults are T5 small.

    Attributes:
        num_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder; default as many.
        num_buckets: Entries of the bias table.
        max_distance: Distances from here on share the last bucket.
        is_gated: The feed-forward network is gated (T5 1.1).
        tie_embeddings: The head's matrix is that of the token embeddings.
        scale_outputs: What the head reads is divided by √embed_dim (not in T5 1.1).
        start_token_id: What the decoder reads first.
    """

    MODEL_TYPE = "t5"
    ARCHITECTURE = "T5ForConditionalGeneration"

    vocab_size: int = option(32128)
    embed_dim: int = option(512, "d_model", "hidden_size")
    head_dim: int = option(64, "d_kv", "head_dim")
    hidden_dim: int = option(2048, "d_ff")
    num_layers: int = option(6, "num_layers", "num_hidden_layers")
    num_decoder_layers: int | None = option(None)
    num_heads: int = option(8, "num_heads", "num_attention_heads")
    num_buckets: int = option(32, "relative_attention_num_buckets")
    max_distance: int = option(128, "relative_attention_max_distance")
    dropout: float = option(0.1, "dropout_rate")
    norm_eps: float = option(1e-6, "layer_norm_epsilon")
    init_factor: float = option(1.0, "initializer_factor")
    pad_token_id: int | None = option(0)
    eos_token_id: int | tuple[int, ...] | None = option(1)
    start_token_id: int | None = option(0, "decoder_start_token_id")
    activation: str = "relu"
    is_gated: bool = False
    tie_embeddings: bool = True
    scale_outputs: bool = True

    @classmethod
    def extra(cls, config: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
        kind = config.get("feed_forward_proj", "relu")
        words = kind.split("-") if isinstance(kind, str) else []
        if len(words) not in (1, 2) or (len(words) == 2 and words[0] != "gated"):
            raise ConfigError("feed_forward_proj", kind, "a function, or gated-function")
        # in this name alone, gelu is the approximation
        function = "gelu_new" if kind == "gated-gelu" else words[-1]
        tied = config.get("tie_word_embeddings", True) is not False
        scale = config.get("scale_decoder_outputs", tied)
        return {
            "activation": activation(function, "feed_forward_proj"),
            "is_gated": len(words) == 2,
            "scale_outputs": bool(scale),
            "tie_embeddings": bool(scale) or "lm_head.weight" not in names,
        }

    def extra_json(self) -> dict[str, Any]:
        name = {"gelu_tanh": "gelu" if self.is_gated else "gelu_new"}.get(
            self.activation, self.activation
        )
        return {
            "feed_forward_proj": f"gated-{name}" if self.is_gated else name,
            "is_encoder_decoder": True,
            "tie_word_embeddings": self.scale_outputs,
            "scale_decoder_outputs": self.scale_outputs,
        }


class T5(nn.Module):
    """T5 with its language-model head.

    References:
        Raffel et al. 2019, arXiv:1910.10683. Version 1.1: Shazeer 2020, arXiv:2002.05202.
    """

    PREFIX = ""
    UNREAD = (r"(encoder|decoder)\.embed_tokens\..*", r"lm_head\..*", r"classif.*")

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config, width = config, config.embed_dim
        self.tokens, self.dropout = (
            nn.Embedding(config.vocab_size, width),
            nn.Dropout(config.dropout),
        )
        self.encoder_bias = nn.Embedding(config.num_buckets, config.num_heads)
        self.decoder_bias = nn.Embedding(config.num_buckets, config.num_heads)
        attention = partial(
            MultiHeadAttention,
            width,
            config.num_heads,
            head_dim=config.head_dim,
            bias=False,
            dropout=config.dropout,
            scale=1.0,
        )
        hidden = partial(
            GatedFeedForward if config.is_gated else FeedForward,
            width,
            config.hidden_dim,
            config.activation,
            bias=False,
            dropout=config.dropout,
        )
        norm = partial(RMSNorm, width, config.norm_eps)
        how: dict[str, Any] = {"norm_first": True, "dropout": config.dropout}
        self.encoder = BlockStack(
            EncoderBlock(attention(), hidden(), norm, **how) for _ in range(config.num_layers)
        )
        self.decoder = BlockStack(
            DecoderBlock(attention(), attention(), hidden(), norm, **how)
            for _ in range(config.num_decoder_layers or config.num_layers)
        )
        self.encoder_norm, self.decoder_norm = norm(), norm()
        if not config.tie_embeddings:
            self.head = Linear(width, config.vocab_size, bias=False)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        """Each matrix by its input's width; queries smaller, as scores are not divided by √d."""
        config, factor = self.config, self.config.init_factor
        if isinstance(module, nn.Embedding):
            shared = module.num_embeddings == config.vocab_size
            nn.init.normal_(module.weight, std=factor * (1 if shared else config.embed_dim**-0.5))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=factor * module.in_features**-0.5)
        elif isinstance(module, MultiHeadAttention):
            std = factor * (config.embed_dim * config.head_dim) ** -0.5
            nn.init.normal_(module.q_proj.weight, std=std)

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
        bias = self._bias(self.encoder_bias, bidirectional=True)
        x = self.dropout(self.tokens(source))
        x = self.encoder(x, attn_mask=attn_mask, bias=bias)
        return self.dropout(self.encoder_norm(x))

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
        first = 0 if cache is None else cache.length
        bias = self._bias(self.decoder_bias, bidirectional=False, offset=first)
        x = self.dropout(self.tokens(target))
        how: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": True, "cache": cache}
        x = self.decoder(x, memory, memory_mask=memory_mask, bias=bias, **how)
        return self.dropout(self.decoder_norm(x))

    def _bias(self, table: nn.Embedding, **how: Any) -> RelativeBias:
        return RelativeBias(table.weight, max_distance=self.config.max_distance, **how)

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        """The head: how well each token of the vocabulary would go on."""
        if self.config.scale_outputs:
            hidden = hidden * self.config.embed_dim**-0.5
        weight = self.tokens.weight if self.config.tie_embeddings else self.head.weight
        return linear(hidden, weight)

    def loss(
        self, source: Int[Tensor, "batch source_length"], labels: Int[Tensor, "batch length"], **how
    ) -> Float[Tensor, ""]:
        """Mean surprise at the labels, in nats.

        Args:
            source: What is read.
            labels: What is to be written, the end token included; -100 is not counted.
            how: Masks, as in `forward`.
        """
        logits = self.forward(source, self.shifted(labels), **how)
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def shifted(self, labels: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
        """What the decoder reads to write the labels: the start token, and all but the last."""
        start = labels.new_full((len(labels), 1), self.config.start_token_id or 0)
        known = labels[:, :-1].masked_fill(labels[:, :-1] == -100, self.config.pad_token_id or 0)
        return torch.cat([start, known], 1)

    @property
    def KEYS(self) -> KeyTable:
        """Our names and the checkpoint's."""
        return t5(is_gated=self.config.is_gated)
