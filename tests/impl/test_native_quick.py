import pytest
import torch

import eyeline
from eyeline import masks
from eyeline.impl import _native_quick, native, quick

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


ALL = (None, None)
BANDS = {
    "all": {},
    "is_causal": {"is_causal": True},
    "causal": {"attn_mask": masks.causal()},
    "offset": {"attn_mask": masks.causal(offset=14)},
    "window": {"attn_mask": masks.sliding_window((3, 1), offset=2)},
    "nothing": {"attn_mask": masks.sliding_window((1, 1), offset=-40)},
}


def tensors(*shape, kv=None, dtype=torch.float32):
    return (torch.randn(s, dtype=dtype) for s in (shape, kv or shape, kv or shape))


def the_long_way(monkeypatch, *args, **kwargs):
    with monkeypatch.context() as patch:
        patch.setattr(_native_quick, "attend", lambda *_: None)
        return eyeline.attention(*args, impl="native", **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize("enable_gqa", [False, True])
def test_it_gives_the_bits_of_the_long_way(monkeypatch, dtype, band, scale, enable_gqa):
    kv_heads = 2 if enable_gqa else 4
    q, k, v = tensors(2, 4, 19, 24, kv=(2, kv_heads, 33, 24), dtype=dtype)
    options = BANDS[band] | {"scale": scale, "enable_gqa": enable_gqa}
    answers = []
    honest = _native_quick.attend
    with monkeypatch.context() as patch:
        patch.setattr(
            _native_quick, "attend", lambda *args: answers.append(honest(*args)) or answers[-1]
        )
        found = eyeline.attention(q, k, v, **options)
    assert found is answers[0] and found.dtype == dtype
    assert torch.equal(found, the_long_way(monkeypatch, q, k, v, **options))


def test_strides_are_read_where_they_are(monkeypatch):
    q, k, v = (t.transpose(1, 2) for t in tensors(2, 19, 4, 24))
    found = quick("native")(q, k, v, ALL, None, False)
    assert torch.equal(found, the_long_way(monkeypatch, q, k, v))


def test_each_call_has_memory_of_its_own():
    q, k, v = tensors(1, 2, 8, 4)
    first = eyeline.attention(q, k, v)
    kept = first.clone()
    eyeline.attention(q + 1, k, v * 2)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("other", ["reference", "tiled"])
def test_another_implementation_is_not_replaced(other):
    assert quick(other)(*tensors(1, 1, 4, 4), ALL, None, False) is None


@pytest.mark.parametrize(
    "change",
    [
        {"query": torch.randn(4, 4, 4)},
        {"query": torch.randn(1, 2, 4, 8).double()},
        {"key": torch.randn(1, 2, 4, 8).half()},
        {"query": torch.randn(1, 2, 0, 8)},
        {"query": torch.randn(1, 3, 4, 8)},
        {"query": torch.randn(2, 2, 4, 8)},
        {"value": torch.randn(1, 2, 5, 8)},
        {"query": torch.randn(1, 2, 8, 4).transpose(2, 3)},
        {"query": torch.randn(1, 2, 4, 8, requires_grad=True)},
        {"query": torch.nn.Parameter(torch.randn(1, 2, 4, 8), requires_grad=False)},
        {"query": torch.randn(1, 2, 4, 300), "key": torch.randn(1, 2, 4, 300)},
        {"query": torch.randn(1, 4, 4, 8)},
        {"scale": torch.tensor(0.5)},
        {"band": (None, 1 << 70)},
        {"query": torch.full((1, 2, 4, 8), torch.nan)},
    ],
)
def test_what_is_not_plain_takes_the_long_way(change):
    plain = dict(zip(("query", "key", "value"), tensors(1, 2, 4, 8), strict=True))
    call = plain | {"band": ALL, "scale": None, "enable_gqa": False}
    assert quick("auto")(**call) is not None
    assert quick("auto")(**(call | change)) is None


def test_a_parameter_without_gradient_mode_is_plain_enough_for_the_right_answer():
    q, k, v = tensors(1, 2, 4, 8)
    with torch.no_grad():
        assert torch.equal(
            eyeline.attention(torch.nn.Parameter(q), k, v), eyeline.attention(q, k, v)
        )


def test_gradients_are_not_lost():
    q, k, v = (t.requires_grad_() for t in tensors(1, 2, 4, 8))
    assert eyeline.attention(q, k, v).requires_grad
    with torch.no_grad():
        assert quick("auto")(q, k, v, ALL, None, False) is not None
