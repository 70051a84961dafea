"""Where the norms and the ways around stand."""

from functools import partial

import pytest
import torch

from eyeline import masks
from eyeline.nn import (
    BlockStack,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    KVCache,
    LayerNorm,
    MultiHeadAttention,
)

NORM = partial(LayerNorm, 16)


def encoder(norm_first):
    return EncoderBlock(MultiHeadAttention(16, 2), FeedForward(16, 32), NORM, norm_first=norm_first)


def decoder(norm_first):
    parts = MultiHeadAttention(16, 2), MultiHeadAttention(16, 2), FeedForward(16, 32)
    return DecoderBlock(*parts, NORM, norm_first=norm_first)


def test_norm_before_or_after():
    x = torch.randn(2, 5, 16)
    before, after = encoder(True), encoder(False)
    y = x + before.attention(before.attention_norm(x))
    assert torch.allclose(
        before(x), y + before.feed_forward(before.feed_forward_norm(y)), atol=1e-6
    )
    y = after.attention_norm(x + after.attention(x))
    assert torch.allclose(after(x), after.feed_forward_norm(y + after.feed_forward(y)), atol=1e-6)


@pytest.mark.parametrize("norm_first", [True, False])
def test_cross_attention_stands_between(norm_first):
    block, x, memory = decoder(norm_first), torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    mask = masks.padding([3, 1])
    found = block(x, memory, memory_mask=mask, is_causal=True)
    if norm_first:
        y = x + block.attention(block.attention_norm(x), is_causal=True)
        y = y + block.cross_attention(block.cross_attention_norm(y), memory, attn_mask=mask)
        y = y + block.feed_forward(block.feed_forward_norm(y))
    else:
        y = block.attention_norm(x + block.attention(x, is_causal=True))
        y = block.cross_attention_norm(y + block.cross_attention(y, memory, attn_mask=mask))
        y = block.feed_forward_norm(y + block.feed_forward(y))
    assert torch.allclose(found, y, atol=1e-6)
    alone = block(x, None)
    assert not torch.allclose(alone, block(x, memory))


def test_dropout_is_of_what_sublayers_give():
    block = EncoderBlock(
        MultiHeadAttention(16, 2), FeedForward(16, 32), NORM, norm_first=True, dropout=1.0
    )
    x = torch.randn(2, 5, 16)
    assert torch.equal(block(x), x) and not torch.equal(block.eval()(x), x)


@pytest.mark.parametrize("make", [encoder, decoder])
def test_a_stack_keeps_each_blocks_cache(make):
    stack = BlockStack(make(True) for _ in range(3)).eval()
    x, memory = torch.randn(2, 7, 16), torch.randn(2, 3, 16)
    side = (memory,) if make is decoder else ()
    cache = KVCache(3)
    with torch.no_grad():
        whole = stack(x, *side, is_causal=True)
        parts = [stack(p, *side, is_causal=True, cache=cache) for p in x.split([4, 1, 2], 1)]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
    assert [layer.length for layer in cache] == [7, 7, 7]
    assert [layer.length for layer in cache.cross] == ([3] * 3 if make is decoder else [0] * 3)
    assert list(dict(stack.named_children())) == ["0", "1", "2"]
