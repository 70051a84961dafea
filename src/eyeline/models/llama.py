"""Llama: the decoder of most open language models (Touvron et al. 2023).

    x = embedding of the token
    x = x + attention(norm(x)),  x = x + feed_forward(norm(x))        in every block; causal
    logits = head(norm(x))

Against GPT-2: positions turn queries and keys (RoPE), norms divide by the root mean square only,
the feed-forward network is gated, query heads may share keys and values, and there are no biases.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eyeline.masks import Mask
from eyeline.models._config import Config, option
from eyeline.models._hf_names import LLAMA
from eyeline.models._keys import KeyTable
from eyeline.models._rope import read_rope, write_rope
from eyeline.nn import (
    BlockStack,
    EncoderBlock,
    GatedFeedForward,
    KVCache,
    Linear,
    MultiHeadAttention,
    RMSNorm,
    Rotary,
    linear,
)
from eyeline.nn.rotary import Stretch

__all__ = ["Llama", "LlamaConfig"]


@dataclass(frozen=True)
class LlamaConfig(Config):
    """Sizes and switches; the defaults are Llama 7B.

    Attributes:
        num_kv_heads: Heads of keys and values; default `num_heads`.
        head_dim: Width of a head; default `embed_dim / num_heads`.
        rope_theta: The base of the rotary frequencies.
        rope_stretch: How these are changed for long texts.
        attention_bias: The attention's projections have biases.
        hidden_bias: The feed-forward network's projections have biases.
        tie_embeddings: The head's matrix is that of the token embeddings.
    """

    MODEL_TYPE = "llama"
    ARCHITECTURE = "LlamaForCausalLM"

    vocab_size: int = option(32000)
    max_length: int = option(2048, "max_position_embeddings")
    embed_dim: int = option(4096, "hidden_size")
    num_layers: int = option(32, "num_hidden_layers")
    num_heads: int = option(32, "num_attention_heads")
    num_kv_heads: int | None = option(None, "num_key_value_heads")
    head_dim: int | None = option(None)
    hidden_dim: int = option(11008, "intermediate_size")
    activation: str = option("silu", "hidden_act")
    rope_theta: float = 10000.0
    rope_stretch: Stretch = field(default_factory=Stretch)
    attention_dropout: float = option(0.0)
    norm_eps: float = option(1e-6, "rms_norm_eps")
    attention_bias: bool = option(False)
    hidden_bias: bool = option(False, "mlp_bias")
    tie_embeddings: bool = option(False, "tie_word_embeddings")
    init_std: float = option(0.02, "initializer_range")
    bos_token_id: int | None = option(1)
    eos_token_id: int | tuple[int, ...] | None = option(2)
    pad_token_id: int | None = option(None)

    @classmethod
    def extra(cls, config: dict[str, Any], names: Any) -> dict[str, Any]:
        theta, stretch = read_rope(config)
        return {"rope_theta": theta, "rope_stretch": stretch}

    def extra_json(self) -> dict[str, Any]:
        return write_rope(self.rope_theta, self.rope_stretch)


class Llama(nn.Module):
    """Llama with its language-model head.

    References:
        Touvron et al. 2023, arXiv:2302.13971. Grouped queries: Ainslie et al. 2023,
        arXiv:2305.13245. RMSNorm: Zhang and Sennrich 2019, arXiv:1910.07467. Gates: Shazeer 2020,
        arXiv:2002.05202. RoPE: Su et al. 2021, arXiv:2104.09864.
    """

    KEYS: ClassVar[KeyTable] = LLAMA
    PREFIX = "model."
    UNREAD = (r"lm_head\..*", r".*rotary_emb\.inv_freq", r"score\..*")

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config, width = config, config.embed_dim
        self.tokens = nn.Embedding(config.vocab_size, width)
        self.rotary = Rotary(
            config.head_dim or width // config.num_heads, config.rope_theta, config.rope_stretch
        )
        self.blocks = BlockStack(self._block() for _ in range(config.num_layers))
        self.norm = RMSNorm(width, config.norm_eps)
        if not config.tie_embeddings:
            self.head = Linear(width, config.vocab_size, bias=False)
        self.apply(self._initialise)

    def _block(self) -> EncoderBlock:
        config, width = self.config, self.config.embed_dim
        attention = MultiHeadAttention(
            width,
            config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            bias=config.attention_bias,
            dropout=config.attention_dropout,
        )
        hidden = GatedFeedForward(
            width, config.hidden_dim, config.activation, bias=config.hidden_bias
        )
        norm = partial(RMSNorm, width, config.norm_eps)
        return EncoderBlock(attention, hidden, norm, norm_first=True)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

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
    ) -> Float[Tensor, "batch length width"]:
        """What the head reads.

        Args:
            tokens: Numbers of tokens.
            attn_mask: Which tokens may be looked at besides the causal rule (`masks.padding`).
            positions: Where the tokens stand; default: behind what is in the cache.
            cache: Keys and values of earlier tokens.
        """
        first = 0 if cache is None else cache.length
        last = first + tokens.shape[1]
        x = self.tokens(tokens)
        if positions is None:
            positions = torch.arange(first, last, device=tokens.device)
            rotary = self.rotary(positions, x.dtype, length=last)
        else:
            rotary = self.rotary(positions, x.dtype)
        x = self.blocks(x, cache=cache, attn_mask=attn_mask, is_causal=True, rotary=rotary)
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
