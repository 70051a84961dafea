"""GPT-2: reads from left to right and says what comes next (Radford et al. 2019).

x = embedding of the token + embedding of its position
x = x + attention(norm(x)),  x = x + feed_forward(norm(x))        in every block; causal
logits = norm(x) Eᵀ                                               E: the token embeddings again
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
from eyeline.models._hf_names import GPT2 as GPT2_NAMES
from eyeline.models._keys import KeyTable
from eyeline.nn import (
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

__all__ = ["GPT2", "GPT2Config"]


@dataclass(frozen=True)
class GPT2Config(Config):
    """Sizes and switches; the defaults are GPT-2 small. In brackets: Hugging Face's name.

    Attributes:
        hidden_dim: Width of the feed-forward network; default 4 × `embed_dim`.
        scale_scores: Divide the scores by √head_dim.
        scale_by_layer: Divide them by the number of the layer, from 1, as well.
        cross_attention: Every block looks at a `memory` too.
        tie_embeddings: The head's matrix is that of the token embeddings.
    """

    MODEL_TYPE = "gpt2"
    ARCHITECTURE = "GPT2LMHeadModel"

    vocab_size: int = option(50257)
    max_length: int = option(1024, "n_positions", "max_position_embeddings")
    embed_dim: int = option(768, "n_embd", "hidden_size")
    num_layers: int = option(12, "n_layer", "num_hidden_layers")
    num_heads: int = option(12, "n_head", "num_attention_heads")
    hidden_dim: int | None = option(None, "n_inner")
    activation: str = option("gelu_tanh", "activation_function")
    dropout: float = option(0.1, "resid_pdrop")
    embedding_dropout: float = option(0.1, "embd_pdrop")
    attention_dropout: float = option(0.1, "attn_pdrop")
    norm_eps: float = option(1e-5, "layer_norm_epsilon")
    scale_scores: bool = option(True, "scale_attn_weights")
    scale_by_layer: bool = option(False, "scale_attn_by_inverse_layer_idx")
    cross_attention: bool = option(False, "add_cross_attention")
    tie_embeddings: bool = option(True, "tie_word_embeddings")
    init_std: float = option(0.02, "initializer_range")
    bos_token_id: int | None = option(None)
    eos_token_id: int | tuple[int, ...] | None = option(None)
    pad_token_id: int | None = option(None)


class GPT2(nn.Module):
    """GPT-2 with its language-model head.

    References:
        Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    """

    KEYS: ClassVar[KeyTable] = GPT2_NAMES
    PREFIX = "transformer."
    UNREAD = (r"lm_head\..*", r".*attn\.(masked_)?bias", r"multiple_choice_head\..*", r"score\..*")

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config, width = config, config.embed_dim
        self.tokens = nn.Embedding(config.vocab_size, width)
        self.positions = LearnedPositions(config.max_length, width)
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.blocks = BlockStack(self._block(layer) for layer in range(config.num_layers))
        self.norm = LayerNorm(width, config.norm_eps)
        if not config.tie_embeddings:
            self.head = Linear(width, config.vocab_size, bias=False)
        self.apply(self._initialise)

    def _block(self, layer: int) -> nn.Module:
        config, width = self.config, self.config.embed_dim
        scale = (width // config.num_heads) ** -0.5 if config.scale_scores else 1.0
        scale = scale / (layer + 1) if config.scale_by_layer else scale
        attention = partial(
            MultiHeadAttention,
            width,
            config.num_heads,
            dropout=config.attention_dropout,
            scale=scale,
        )
        hidden = FeedForward(width, config.hidden_dim or 4 * width, config.activation)
        norm = partial(LayerNorm, width, config.norm_eps)
        how: dict[str, Any] = {"norm_first": True, "dropout": config.dropout}
        if config.cross_attention:
            return DecoderBlock(attention(), attention(), hidden, norm, **how)
        return EncoderBlock(attention(), hidden, norm, **how)

    def _initialise(self, module: nn.Module) -> None:
        """Normal; what is added to the residual stream less, the more layers add to it."""
        std = self.config.init_std
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name in ("o_proj", "down_proj"):
            if isinstance(last := getattr(module, name, None), nn.Linear):
                nn.init.normal_(last.weight, std=std / math.sqrt(2 * self.config.num_layers))

    def forward(
        self, tokens: Int[Tensor, "batch length"], **how: Any
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the token after each token; arguments as in `hidden`."""
        return self.logits(self.hidden(tokens, **how))

    def hidden(
        self,
        tokens: Int[Tensor, "batch length"],
        *,
        attn_mask: Mask | None = None,
        positions: Int[Tensor, "*batch length"] | None = None,
        cache: KVCache | None = None,
        memory: Float[Tensor, "batch kv_len width"] | None = None,
        memory_mask: Mask | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """What the head reads.

        Args:
            tokens: Numbers of tokens.
            attn_mask: Which tokens may be looked at besides the causal rule (`masks.padding`).
            positions: Where the tokens stand; default: behind what is in the cache.
            cache: Keys and values of earlier tokens.
            memory: What cross-attention looks at, if the model has any.
            memory_mask: Which of the memory may be looked at.
        """
        first = 0 if cache is None else cache.length
        if positions is None:
            positions = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        x = self.dropout(self.tokens(tokens) + self.positions(positions))
        how: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": True}
        x = self.blocks(x, memory, memory_mask=memory_mask, cache=cache, **how)
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        """The head: how well each token of the vocabulary would go on."""
        if self.config.tie_embeddings:
            return linear(hidden, self.tokens.weight)
        return self.head(hidden)

    def loss(
        self, tokens: Int[Tensor, "batch length"], labels: Tensor | None = None, **how: Any
    ) -> Float[Tensor, ""]:
        """Mean surprise at the next token, in nats.

        Args:
            tokens: The text.
            labels: The same, with -100 where a token is not to be counted. Default: `tokens`.
            how: As in `hidden`.
        """
        labels = tokens if labels is None else labels
        logits = self.forward(tokens, **how)[:, :-1]
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
