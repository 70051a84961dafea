"""The parts of a Transformer, built on `eyeline.attention`.

MultiHeadAttention      self- and cross-attention; grouped queries, caches, rotary positions
MultiheadAttention      the drop-in for torch.nn.MultiheadAttention
KVCache                 keys and values of the tokens so far
EncoderBlock, DecoderBlock      attention and feed-forward with their norms and residuals
FeedForward, GatedFeedForward
LearnedPositions, SinusoidalPositions, Rotary
Linear, LayerNorm, RMSNorm      torch's own; Linear is faster on one token at a time
"""

from torch.nn import LayerNorm, RMSNorm

from eyeline.nn.blocks import BlockStack, DecoderBlock, EncoderBlock
from eyeline.nn.drop_in import MultiheadAttention
from eyeline.nn.feed_forward import ACTIVATIONS, FeedForward, GatedFeedForward
from eyeline.nn.kv_cache import KVCache, LayerCache
from eyeline.nn.linear import Linear, linear
from eyeline.nn.multi_head_attention import MultiHeadAttention
from eyeline.nn.positions import LearnedPositions, SinusoidalPositions
from eyeline.nn.rotary import Rotary
from eyeline.nn.watched import Observer, Watched

__all__ = [
    "ACTIVATIONS",
    "BlockStack",
    "DecoderBlock",
    "EncoderBlock",
    "FeedForward",
    "GatedFeedForward",
    "KVCache",
    "LayerCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "MultiHeadAttention",
    "MultiheadAttention",
    "Observer",
    "RMSNorm",
    "Rotary",
    "SinusoidalPositions",
    "Watched",
    "linear",
]
