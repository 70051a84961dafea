"""BERT: reads a text in both directions at once, and fills in what is masked (Devlin et al. 2018).

x = norm(embedding of the token + of its position + of its segment)
x = norm(x + attention(x)),  x = norm(x + feed_forward(x))        in every block; no mask
logits = norm(gelu(W x)) Eᵀ + b                                   at masked tokens (masked LM)
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eyeline.masks import Mask
from eyeline.models._config import Config, ConfigError, architecture_of, option
from eyeline.models._hf_names import BERT as BERT_NAMES
from eyeline.models._keys import KeyTable
from eyeline.nn import (
    ACTIVATIONS,
    BlockStack,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    KVCache,
    LayerNorm,
    LearnedPositions,
    Linear,
    MultiHeadAttention,
    linear,
)

__all__ = ["Bert", "BertConfig"]

_HEADS = ("BertForMaskedLM", "BertForPreTraining", "BertLMHeadModel")


@dataclass(frozen=True)
class BertConfig(Config):
    """Sizes and switches; the defaults are BERT base with its masked-LM head.

    Attributes:
        is_causal: Tokens see those before them only (Hugging Face's `is_decoder`).
        cross_attention: Every block looks at a `memory` too.
        masked_lm: The model has a head that names tokens.
        pooler: The model has the layer that next-sentence prediction reads the first token through.
        tie_embeddings: The head's matrix is that of the token embeddings.
    """

    MODEL_TYPE = "bert"

    vocab_size: int = option(30522)
    max_length: int = option(512, "max_position_embeddings")
    num_segments: int = option(2, "type_vocab_size")
    embed_dim: int = option(768, "hidden_size")
    num_layers: int = option(12, "num_hidden_layers")
    num_heads: int = option(12, "num_attention_heads")
    hidden_dim: int = option(3072, "intermediate_size")
    activation: str = option("gelu", "hidden_act")
    dropout: float = option(0.1, "hidden_dropout_prob")
    attention_dropout: float = option(0.1, "attention_probs_dropout_prob")
    norm_eps: float = option(1e-12, "layer_norm_eps")
    is_causal: bool = option(False, "is_decoder")
    cross_attention: bool = option(False, "add_cross_attention")
    tie_embeddings: bool = option(True, "tie_word_embeddings")
    init_std: float = option(0.02, "initializer_range")
    pad_token_id: int | None = option(0)
    masked_lm: bool = True
    pooler: bool = False

    @classmethod
    def extra(cls, config: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
        has_head = "cls.predictions.transform.dense.weight" in names
        architecture = architecture_of(config) or (_HEADS[0] if has_head else "BertModel")
        pooler = any(name.endswith("pooler.dense.weight") for name in names)
        if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
            raise ConfigError("position_embedding_type", kind, "'absolute'")
        return {"masked_lm": architecture in _HEADS, "pooler": pooler}

    @property
    def architecture(self) -> str:
        if not self.masked_lm:
            return "BertModel"
        return "BertLMHeadModel" if self.is_causal else "BertForMaskedLM"


class Bert(nn.Module):
    """BERT's encoder, with its masked-LM head if the config says so.

    References:
        Devlin et al. 2018, arXiv:1810.04805.
    """

    KEYS: ClassVar[KeyTable] = BERT_NAMES
    PREFIX = "bert."
    UNREAD = (r"(bert\.)?embeddings\.(position_ids|token_type_ids)", r"cls\..*")

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config, width = config, config.embed_dim
        self.tokens = nn.Embedding(config.vocab_size, width)
        self.positions = LearnedPositions(config.max_length, width)
        self.segments = nn.Embedding(config.num_segments, width)
        self.norm = LayerNorm(width, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = BlockStack(self._block() for _ in range(config.num_layers))
        if config.pooler:
            self.pooler = Linear(width, width)
        if config.masked_lm:
            self.transform = Linear(width, width)
            self.transform_norm = LayerNorm(width, config.norm_eps)
            if config.tie_embeddings:
                self.head_bias = nn.Parameter(torch.zeros(config.vocab_size))
            else:
                self.head = Linear(width, config.vocab_size)
        self.apply(self._initialise)

    def _block(self) -> nn.Module:
        config, width = self.config, self.config.embed_dim
        attention = partial(
            MultiHeadAttention, width, config.num_heads, dropout=config.attention_dropout
        )
        hidden = FeedForward(width, config.hidden_dim, config.activation)
        norm = partial(LayerNorm, width, config.norm_eps)
        how: dict[str, Any] = {"norm_first": False, "dropout": config.dropout}
        if config.cross_attention:
            return DecoderBlock(attention(), attention(), hidden, norm, **how)
        return EncoderBlock(attention(), hidden, norm, **how)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        *,
        segments: Int[Tensor, "batch length"] | None = None,
        attn_mask: Mask | None = None,
        positions: Int[Tensor, "*batch length"] | None = None,
        cache: KVCache | None = None,
        memory: Float[Tensor, "batch kv_len width"] | None = None,
        memory_mask: Mask | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """A vector for every token.

        Args:
            tokens: Numbers of tokens.
            segments: 0 for the first text, 1 for the second; default: one text.
            attn_mask: Which tokens may be looked at (`masks.padding(lengths)`).
            positions: Where the tokens stand; default: behind what is in the cache.
            cache: Keys and values of earlier tokens, for a causal model.
            memory: What cross-attention looks at, if the model has any.
            memory_mask: Which of the memory may be looked at.
        """
        first = 0 if cache is None else cache.length
        if positions is None:
            positions = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        segments = torch.zeros_like(tokens) if segments is None else segments
        x = self.tokens(tokens) + self.segments(segments) + self.positions(positions)
        x = self.dropout(self.norm(x))
        how: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": self.config.is_causal}
        return self.blocks(x, memory, memory_mask=memory_mask, cache=cache, **how)

    def hidden(
        self, tokens: Int[Tensor, "batch length"], **how: Any
    ) -> Float[Tensor, "batch length width"]:
        """What the head reads: the same as calling the model."""
        return self(tokens, **how)

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        """The masked-LM head: how well each token of the vocabulary would stand here."""
        if not self.config.masked_lm:
            raise ValueError("this BERT has no head that names tokens (masked_lm=False)")
        function = ACTIVATIONS[self.config.activation]
        x = self.transform_norm(function(self.transform(hidden)))
        if self.config.tie_embeddings:
            return linear(x, self.tokens.weight, self.head_bias)
        return self.head(x)

    def pooled(self, hidden: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch width"]:
        """A vector for the text: the first token's, through the pooler."""
        return torch.tanh(self.pooler(hidden[:, 0]))

    def loss(
        self, tokens: Int[Tensor, "batch length"], labels: Int[Tensor, "batch length"], **how: Any
    ) -> Float[Tensor, ""]:
        """Mean surprise at the labels, in nats.

        Args:
            tokens: The text with masked tokens.
            labels: What stood there; -100 where nothing is asked. A causal model is asked for the
                token after each one.
            how: As in `forward`.
        """
        logits = self.logits(self(tokens, **how))
        if self.config.is_causal:
            logits, labels = logits[:, :-1], labels[:, 1:]
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
