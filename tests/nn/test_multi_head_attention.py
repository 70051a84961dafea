"""`MultiHeadAttention` against the paper's equation, head by head."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention, softmax

from eyeline import masks
from eyeline._types import Tile
from eyeline.biases import Alibi, RelativeBias, alibi_slopes
from eyeline.nn import KVCache, LayerCache, MultiHeadAttention, Rotary
from eyeline.rotary import apply_rotary


def by_hand(module, x, memory=None, allowed=None, added=0.0, rotary=None):
    """The equation, one head at a time, in float64."""
    module, x = module.double(), x.double()
    source = x if memory is None else memory.double()
    width, heads = module.head_dim, []
    for head in range(module.num_heads):
        kv = head // (module.num_heads // module.num_kv_heads)
        q, k, v = (
            (side(inputs))[..., n * width : (n + 1) * width]
            for side, inputs, n in (
                (module.q_proj, x, head),
                (module.k_proj, source, kv),
                (module.v_proj, source, kv),
            )
        )
        if rotary is not None:
            cos, sin = (angle[0].double() for angle in rotary)
            q, k = (apply_rotary(side, cos, sin) for side in (q, k))
        scale = 1 / math.sqrt(width) if module.scale is None else module.scale
        scores = scale * q @ k.mT
        if module.softcap is not None:
            scores = module.softcap * torch.tanh(scores / module.softcap)
        scores = scores + (added if isinstance(added, float) else added[head])
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -torch.inf)
        heads.append(softmax(scores, -1) @ v)
    output = module.o_proj(torch.cat(heads, -1))
    module.float()
    return output.float()


SHAPES = [
    {},
    {"num_kv_heads": 2},
    {"num_kv_heads": 1},
    {"head_dim": 10, "bias": False},
    {"scale": 1.0, "softcap": 2.0},
]


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(options, causal):
    module = MultiHeadAttention(24, 4, **options).eval()
    x = torch.randn(2, 7, 24)
    allowed = torch.ones(7, 7).tril().bool() if causal else None
    expected = by_hand(module, x, allowed=allowed)
    assert torch.allclose(module(x, is_causal=causal), expected, atol=1e-6)


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_cross_attention(options):
    module = MultiHeadAttention(24, 4, kv_dim=15, **options).eval()
    x, memory = torch.randn(2, 7, 24), torch.randn(2, 5, 15)
    mask = masks.padding([5, 2])
    allowed = (torch.arange(5) < torch.tensor([[5], [2]]))[:, None]
    expected = by_hand(module, x, memory, allowed)
    assert torch.allclose(module(x, memory, attn_mask=mask), expected, atol=1e-6)


def test_rotary_positions():
    module, x = MultiHeadAttention(24, 4, num_kv_heads=2), torch.randn(2, 7, 24)
    rotary = Rotary(6)(torch.arange(7) + 3)
    expected = by_hand(module, x, rotary=rotary)
    assert torch.allclose(module(x, rotary=rotary), expected, atol=1e-6)
    # only differences of positions count
    elsewhere = module(x, rotary=Rotary(6)(torch.arange(7) + 900))
    assert torch.allclose(elsewhere, expected, atol=1e-4)
    with pytest.raises(ValueError, match="not for cross-attention"):
        module(x, x, rotary=rotary)


def test_biases():
    module, x = MultiHeadAttention(24, 4), torch.randn(2, 7, 24)
    distance = torch.arange(7) - torch.arange(7)[:, None]
    slopes = alibi_slopes(4)
    expected = by_hand(module, x, added=-slopes[:, None, None] * distance.abs())
    assert torch.allclose(module(x, bias=Alibi(slopes)), expected, atol=1e-6)
    table = torch.randn(8, 4, requires_grad=True)
    bias = RelativeBias(table, max_distance=20)
    written = bias.tile(Tile.whole(1, 4, 7, 7))[0]
    assert torch.allclose(module(x, bias=bias), by_hand(module, x, added=written), atol=1e-6)
    module(x, bias=bias).sum().backward()
    assert table.grad is not None and table.grad.abs().max() > 0


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("split", [[7], [1] * 7, [3, 1, 2, 1]])
def test_a_cache_changes_nothing(options, split):
    module, x = MultiHeadAttention(24, 4, **options).eval(), torch.randn(2, 7, 24)
    cache, rotary = LayerCache(), Rotary(module.head_dim)
    with torch.no_grad():
        whole = module(x, is_causal=True, rotary=rotary(torch.arange(7)))
        parts, first = [], 0
        for part in x.split(split, 1):
            angles = rotary(torch.arange(first, first + part.shape[1]))
            parts.append(module(part, is_causal=True, rotary=angles, cache=cache))
            first += part.shape[1]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)


@pytest.mark.parametrize("kind", ["rule", "bool"])
def test_a_cache_and_a_mask(kind):
    """The mask is over all keys, those in the cache included."""
    module, x = MultiHeadAttention(24, 4).eval(), torch.randn(2, 7, 24)
    rule = masks.keys(torch.tensor([[True] * 7, [False, False, True, True, True, True, True]]))
    whole = module(x, is_causal=True, attn_mask=rule)
    cache = LayerCache()
    with torch.no_grad():
        first = module(
            x[:, :4], is_causal=True, attn_mask=masks.keys(rule.keep[:, :4]), cache=cache
        )
        seen = rule if kind == "rule" else rule.keep[:, None, None]
        second = module(x[:, 4:], is_causal=True, attn_mask=seen, cache=cache)
    real = torch.cat([first, second], 1)
    assert torch.allclose(real[0], whole[0], atol=1e-6)
    assert torch.allclose(real[1, 2:], whole[1, 2:], atol=1e-6)


def test_numbers_with_a_cache_are_a_bias():
    module, x, cache = MultiHeadAttention(24, 4).eval(), torch.randn(1, 4, 24), LayerCache()
    with torch.no_grad():
        module(x, is_causal=True, cache=cache)
        with pytest.raises(TypeError, match="give numbers as bias"):
            module(x, is_causal=True, attn_mask=torch.zeros(4, 8), cache=cache)


def test_memory_is_projected_once():
    module, memory = MultiHeadAttention(24, 4).eval(), torch.randn(2, 5, 24)
    x, cache, calls = torch.randn(2, 3, 24), KVCache(1), []
    module.k_proj.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        first = module(x, memory, cache=cache.cross[0])
        second = module(x, memory, cache=cache.cross[0])
    assert torch.equal(first, second) and len(calls) == 1 and cache.length == 0


def test_a_row_that_sees_nothing_gives_the_bias():
    module, x = MultiHeadAttention(24, 4), torch.randn(2, 5, 24)
    output = module(x, attn_mask=masks.padding([5, 0]))
    assert torch.equal(output[1], module.o_proj.bias.expand(5, 24))
    output.sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_dropout_is_of_weights_and_in_training_only():
    module, x = MultiHeadAttention(24, 4, dropout=0.5), torch.randn(2, 9, 24)
    torch.manual_seed(1)
    first = module(x)
    torch.manual_seed(1)
    assert torch.equal(first, module(x)) and not torch.equal(first, module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_the_same_as_torchs_function():
    module, x = MultiHeadAttention(24, 4), torch.randn(2, 9, 24)
    query, key, value = module.project(x)
    expected = scaled_dot_product_attention(query, key, value, is_causal=True)
    expected = module.o_proj(expected.transpose(1, 2).flatten(2))
    assert torch.allclose(module(x, is_causal=True), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((24, 5), "not a multiple of num_heads 5"), ((24, 4, 3), "not a multiple of num_kv_heads 3")],
)
def test_sizes_that_do_not_fit(arguments, said):
    with pytest.raises(ValueError, match=said):
        MultiHeadAttention(
            *arguments[:2], num_kv_heads=arguments[2] if len(arguments) > 2 else None
        )


def test_it_compiles_without_a_break():
    module, x = MultiHeadAttention(24, 4).eval(), torch.randn(2, 9, 24)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x, is_causal=True), module(x, is_causal=True), atol=1e-6)
