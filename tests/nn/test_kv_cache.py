"""The cache: what goes in comes out, and nothing that came out ever changes."""

import pytest
import torch

import eyeline
from eyeline.nn import KVCache, LayerCache, MultiHeadAttention


def pieces(*lengths, batch=2, heads=3, width=4):
    return [
        (torch.randn(batch, heads, n, width), torch.randn(batch, heads, n, width)) for n in lengths
    ]


def test_what_goes_in_comes_out():
    cache, given = LayerCache(), pieces(5, 1, 1, 70, 3)
    for n, (key, value) in enumerate(given):
        keys, values = cache.append(key, value)
        assert torch.equal(keys, torch.cat([k for k, _ in given[: n + 1]], 2))
        assert torch.equal(values, torch.cat([v for _, v in given[: n + 1]], 2))
    assert cache.length == 80 and torch.equal(cache.contents[0], keys)


def test_views_never_change():
    cache, copies = LayerCache(), []
    for key, value in pieces(*[1] * 200):
        views = cache.append(key, value)
        copies.append((views, [v.clone() for v in views]))
    cache.crop(10)
    cache.append(*pieces(5)[0])
    cache.select(torch.tensor([1, 1]))
    cache.append(*pieces(90)[0])
    for views, clones in copies:
        assert all(torch.equal(v, c) for v, c in zip(views, clones, strict=True))


def test_it_grows_by_doubling():
    cache = LayerCache()
    rooms = set()
    for key, value in pieces(*[1] * 1000):
        cache.append(key, value)
        rooms.add(cache.nbytes)
    assert len(rooms) <= 6
    assert cache.nbytes <= 2.1 * sum(t.nbytes for t in cache.contents)
    roomy = LayerCache(capacity=500)
    before = [roomy.append(*p) and roomy.nbytes for p in pieces(*[1] * 500)]
    assert len(set(before)) == 1


def test_select_and_crop():
    cache = KVCache(2)
    given = pieces(4, batch=3)[0]
    for layer in cache:
        layer.append(*given)
    cache.cross[0].append(*given)
    cache.select(torch.tensor([2, 0, 0]))
    assert torch.equal(cache[1].contents[0], given[0][[2, 0, 0]])
    assert torch.equal(cache.cross[0].contents[1], given[1][[2, 0, 0]])
    cache.crop(1)
    assert cache.length == 1 and cache.cross[0].length == 4
    assert torch.equal(cache[0].contents[0], given[0][[2, 0, 0], :, :1])
    assert "2 layers, 1 tokens" in repr(cache) and len(cache) == 2
    with pytest.raises(ValueError, match="holds 1 tokens"):
        cache.crop(2)


def test_what_it_refuses():
    cache = LayerCache()
    with pytest.raises(ValueError, match="empty"):
        cache.contents  # noqa: B018
    cache.append(*pieces(3)[0])
    for wrong in (pieces(1, batch=1), pieces(1, heads=2), pieces(1, width=5)):
        with pytest.raises(ValueError, match="serves one model and one batch"):
            cache.append(*wrong[0])
    key, value = pieces(1)[0]
    with pytest.raises(ValueError, match=r"torch\.no_grad"):
        cache.append(key.requires_grad_(), value)
    with pytest.raises(ValueError, match="float64"):
        cache.append(key.detach().double(), value.double())
    assert cache.length == 3


def test_inference_mode_and_back():
    cache = LayerCache()
    with torch.inference_mode():
        cache.append(*pieces(3)[0])
    keys, _ = cache.append(*pieces(1)[0])
    with torch.inference_mode():
        cache.append(*pieces(90)[0])
    cache.append(*pieces(1)[0])
    assert cache.length == 95 and not keys.is_inference()


def test_maps_of_every_step_share_the_cache():
    module, cache = MultiHeadAttention(24, 3).eval(), LayerCache(capacity=64)
    x, seen = torch.randn(1, 40, 24), []
    with torch.no_grad(), eyeline.watch(module, keep="vectors") as maps:
        for token in x.split(1, 1):
            module(token, is_causal=True, cache=cache)
        whole = module(x, is_causal=True)
    del whole
    passes = [next(iter(p.values())) for p in maps.passes]
    full = passes.pop()
    for n, one in enumerate(passes):
        assert one.shape == (1, 3, 1, n + 1)
        assert torch.allclose(one.dense()[0, :, 0], full.dense()[0, :, n, : n + 1], atol=1e-6)
        seen.append(one.problem.key.data_ptr())
    assert len(set(seen)) == 1
