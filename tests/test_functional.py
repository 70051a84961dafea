"""`attention` and `observe`: signature, shapes, options, errors, derivatives of every input."""

import inspect

import pytest
import torch
import torch.nn.functional as F

import _oracle
import eyeline
from eyeline import masks
from eyeline.biases import Alibi, RelativeBias


def inputs(*shapes, dtype=torch.float64, grad=False):
    return [torch.randn(shape, dtype=dtype, requires_grad=grad) for shape in shapes]


def test_the_signature_begins_like_torchs():
    ours = inspect.signature(eyeline.attention).parameters
    names = ["query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"]
    assert list(ours)[:8] == names
    assert [p.default for p in list(ours.values())[3:8]] == [None, 0.0, False, None, False]
    assert list(inspect.signature(eyeline.observe).parameters)[: len(ours)] == list(ours)


@pytest.mark.parametrize(
    "leading", [((), (), ()), ((3,), (3,), (3,)), ((2, 3),) * 3, ((2, 2, 3),) * 3,
                ((3,), (1,), (3,)), ((2, 3), (1, 3), (2, 1)), ((4, 1, 3), (2, 3), (1, 2, 1))]
)  # fmt: skip
def test_any_leading_dimensions_as_in_torch(impl, leading):
    q, k, v = inputs(
        *((*lead, n, w) for lead, n, w in zip(leading, (5, 7, 7), (4, 4, 3), strict=True))
    )
    ours = eyeline.attention(q, k, v, impl=impl)
    common = torch.broadcast_shapes(*leading)
    wide = [t.expand(*common, *t.shape[-2:]) for t in (q, k, v)]
    theirs = F.scaled_dot_product_attention(*wide)
    torch.testing.assert_close(ours, theirs)
    output, _ = eyeline.observe(q, k, v, impl=impl)
    torch.testing.assert_close(output, theirs)


@pytest.mark.parametrize("mask_shape", [(5, 7), (1, 7), (3, 5, 7), (2, 1, 5, 7), (1, 2, 1, 5, 7)])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks_of_any_shape_that_broadcasts(impl, mask_shape, kind):
    lead = (4, 2, 3) if len(mask_shape) == 5 else (2, 3)
    q, k, v = inputs((*lead, 5, 4), (*lead, 7, 4), (*lead, 7, 4))
    mask = torch.rand(mask_shape) < 0.7
    mask[..., 0] = True
    if kind == "float":
        mask = torch.randn(mask_shape, dtype=q.dtype).masked_fill(~mask, -torch.inf)
    ours = eyeline.attention(q, k, v, mask, impl=impl)
    torch.testing.assert_close(ours, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def test_three_dimensional_inputs_with_masks(impl):
    q, k, v = inputs((3, 5, 4), (3, 7, 4), (3, 7, 4))
    mask = torch.rand(3, 5, 7) < 0.7
    mask[..., 0] = True
    ours = eyeline.attention(q, k, v, mask, impl=impl)
    torch.testing.assert_close(ours, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    _, batch_items = eyeline.observe(q, k, v, impl=impl)
    assert batch_items.shape == (3, 1, 5, 7)
    k, v = k[:1], v[:1]
    output, heads = eyeline.observe(q, k, v, enable_gqa=True, impl=impl)
    assert heads.shape == (1, 3, 5, 7) and output.shape == (3, 5, 4)
    torch.testing.assert_close(output, _oracle.solve(q[None], k[None], v[None]).output[0])


@pytest.mark.parametrize(("kv_heads", "v_heads"), [(6, 6), (3, 3), (2, 2), (1, 1), (2, 6), (3, 1)])
def test_query_head_h_reads_its_groups_head(impl, kv_heads, v_heads):
    q, k, v = inputs((2, 6, 5, 4), (2, kv_heads, 7, 4), (2, v_heads, 7, 3))
    output = eyeline.attention(q, k, v, enable_gqa=True, impl=impl)
    for h in range(6):
        one = (q[:, h], k[:, h * kv_heads // 6], v[:, h * v_heads // 6])
        torch.testing.assert_close(output[:, h], F.scaled_dot_product_attention(*one))


def test_softcap_comes_after_scale_and_before_bias(impl):
    q, k, v = inputs((1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4))
    bias = 3 * torch.randn(5, 5, dtype=q.dtype)
    scores = 2.0 * torch.tanh(q @ k.transpose(-2, -1) * 0.9 / 2.0) + bias
    output = eyeline.attention(q, k, v, scale=0.9, softcap=2.0, bias=bias, impl=impl)
    torch.testing.assert_close(output, scores.softmax(-1) @ v)


def test_a_sink_takes_weight_and_gives_nothing(impl):
    q, k, v = inputs((1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4))
    sinks = torch.tensor([0.5, -1.0], dtype=q.dtype)
    column = sinks[None, :, None, None].expand(1, 2, 5, 1)
    weights = torch.cat([q @ k.transpose(-2, -1) / 2, column], -1).softmax(-1)[..., :-1]
    output, seen = eyeline.observe(q, k, v, sinks=sinks, impl=impl)
    torch.testing.assert_close(output, weights @ v)
    torch.testing.assert_close(seen.dense(), weights)
    torch.testing.assert_close(seen.entropy(), _oracle.entropy(weights))
    none = eyeline.attention(q, k, v, sinks=torch.full_like(sinks, -torch.inf), impl=impl)
    torch.testing.assert_close(none, eyeline.attention(q, k, v, impl=impl))


OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "softcap": {"softcap": 1.5},
    "mask": {"attn_mask": masks.sliding_window(2) | masks.prefix(1)},
    "dead_rows": {"attn_mask": masks.causal(-2)},
    "dropout": {"dropout_p": 0.4},
    "all": {"softcap": 2.0, "dropout_p": 0.2, "attn_mask": masks.causal(1), "scale": 0.8},
}
EXTRAS = {
    "sinks": ((2,), lambda t: {"sinks": t}),
    "tensor": ((2, 1, 4), lambda t: {"bias": t}),
    "table": ((4, 2), lambda t: {"bias": RelativeBias(t, max_distance=5)}),
    "slopes": ((2,), lambda t: {"bias": Alibi(t)}),
}


def _differentiable(impl, options, extra):
    shapes = [(1, 2, 3, 2), (1, 1, 4, 2), (1, 1, 4, 2)]
    shapes += [EXTRAS[extra][0]] if extra else []
    leaves = inputs(*shapes, grad=True)

    def function(q, k, v, *more):
        torch.manual_seed(3)  # the same weights are dropped at every call
        added = EXTRAS[extra][1](*more) if extra else {}
        return eyeline.attention(q, k, v, enable_gqa=True, impl=impl, **options, **added)

    return function, leaves


@pytest.mark.parametrize("extra", [None, *EXTRAS])
@pytest.mark.parametrize("name", OPTIONS)
def test_gradcheck(impl, name, extra):
    assert torch.autograd.gradcheck(*_differentiable(impl, OPTIONS[name], extra))


@pytest.mark.parametrize("extra", [None, *EXTRAS])
@pytest.mark.parametrize("name", ["plain", "dead_rows", "all"])
def test_gradgradcheck(impl, name, extra):
    assert torch.autograd.gradgradcheck(*_differentiable(impl, OPTIONS[name], extra))


@pytest.mark.usefixtures("tiny_panels")
@pytest.mark.parametrize("extra", EXTRAS)
def test_derivatives_in_tiny_panels(extra):
    function, leaves = _differentiable("tiled", OPTIONS["all"], extra)
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_dropout_rate_scale_and_seed(impl):
    q, k = inputs((2, 4, 50, 4), (2, 4, 50, 4), dtype=torch.float32)
    eye = torch.eye(50).expand(2, 4, 50, 50)
    for rate in (0.1, 0.5, 0.9):
        torch.manual_seed(1)
        dropped = eyeline.attention(q, k, eye, dropout_p=rate, impl=impl)
        weights = eyeline.attention(q, k, eye, impl=impl)
        kept = dropped != 0
        assert abs(float((~kept).float().mean()) - rate) < 0.02
        torch.testing.assert_close(dropped, weights * kept / (1 - rate))
        torch.manual_seed(1)
        assert torch.equal(eyeline.attention(q, k, eye, dropout_p=rate, impl=impl), dropped)
        assert not torch.equal(eyeline.attention(q, k, eye, dropout_p=rate, impl=impl), dropped)
    assert (eyeline.attention(q, k, eye, dropout_p=1.0, impl=impl) == 0).all()


def test_observe_with_gradients_still_measures(impl):
    q, k, v = inputs((1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4), grad=True)
    output, seen = eyeline.observe(q, k, v, impl=impl, measure=eyeline.Measure(entropy=True))
    output.sum().backward()
    assert q.grad is not None and not seen.dense().requires_grad
    assert seen.entropy().requires_grad and seen.logsumexp.requires_grad
    plain = seen.detach()
    assert not plain.entropy().requires_grad and not plain.logsumexp.requires_grad
    torch.testing.assert_close(plain.entropy(), seen.entropy().detach())


def test_auto_is_never_the_reference_and_names_are_checked():
    q, k, v = inputs((1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4))
    assert eyeline.impl.choose("auto", _problem(q, k, v)) is not eyeline.impl.reference
    for name in ("reference", "tiled"):
        assert eyeline.impl.choose(name, _problem(q, k, v)).__name__.endswith(name)
    with pytest.raises(ValueError, match="impl='fast' is unknown; choose one of auto, reference"):
        eyeline.attention(q, k, v, impl="fast")


def test_a_named_implementation_that_cannot_raises(monkeypatch):
    q, k, v = inputs((1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4))
    tiled, native = (eyeline.impl.IMPLEMENTATIONS[name] for name in ("tiled", "native"))
    monkeypatch.setattr(tiled, "unsupported", lambda *_: "it is Sunday")
    monkeypatch.setattr(native, "unsupported", lambda *_: None)
    with pytest.raises(ValueError, match="impl='tiled' cannot do this: it is Sunday; use impl='a"):
        eyeline.attention(q, k, v, impl="tiled")
    monkeypatch.setattr(native, "unsupported", lambda *_: "it rains")
    monkeypatch.setattr(native, "missing", lambda: None)
    with pytest.raises(ValueError, match="it rains, and it is Sunday; impl='reference' may"):
        eyeline.attention(q, k, v)


def _problem(q, k, v):
    from eyeline.impl._problem import Problem

    return Problem(q, k, v, scale=1.0)


GOOD = torch.zeros(1, 2, 3, 4)
BAD_CALLS = [
    ({"query": [1.0]}, TypeError, "query must be a torch.Tensor, got list"),
    ({"key": GOOD.int()}, TypeError, "key must be floating point, got torch.int32"),
    ({"value": GOOD.bool()}, TypeError, "value must be floating point, got torch.bool"),
    ({"value": GOOD.half()}, ValueError, "value has dtype torch.float16, query has torch.float32"),
    ({"key": GOOD.to("meta")}, ValueError, "key has device meta, query has cpu"),
    ({"query": GOOD[0, 0, 0]}, ValueError, r"query must be \[..., length, head_dim\], got 1-D"),
    ({"key": GOOD[..., :3]}, ValueError, "same head_dim, got 4 and 3"),
    ({"value": GOOD[:, :, :2]}, ValueError, "same kv_len, got 3 and 2"),
    ({"key": GOOD.repeat(1, 2, 1, 1)}, ValueError, "do not broadcast.*enable_gqa=True"),
    (
        {"key": GOOD.repeat(1, 2, 1, 1), "enable_gqa": True},
        ValueError,
        "key has 4 heads.*query's 2",
    ),
    ({"value": GOOD[:, :0], "enable_gqa": True}, ValueError, "value has 0 heads"),
    ({"query": GOOD[0, 0], "enable_gqa": True}, ValueError, "needs a head dimension"),
    ({"dropout_p": 1.5}, ValueError, "dropout_p is a probability from 0 to 1, got 1.5"),
    ({"dropout_p": -0.1}, ValueError, "dropout_p is a probability"),
    ({"softcap": 0.0}, ValueError, "softcap must be a positive number, got 0"),
    ({"softcap": float("inf")}, ValueError, "softcap must be a positive number"),
    (
        {"attn_mask": torch.ones(3, 3, dtype=torch.int64)},
        TypeError,
        "attn_mask must be bool, float",
    ),
    ({"attn_mask": [[True]]}, TypeError, "attn_mask must be a tensor, got list"),
    ({"attn_mask": torch.ones(3, 5, dtype=torch.bool)}, ValueError, r"attn_mask.*\(1, 1, 3, 5\)"),
    ({"attn_mask": GOOD.new_zeros(1, 1, 1, 3, 3)}, ValueError, "attn_mask has 5 dimensions"),
    ({"bias": torch.zeros(3, 5)}, ValueError, r"bias of shape \(1, 1, 3, 5\) does not broadcast"),
    ({"bias": "alibi"}, TypeError, "bias must be a tensor, got str"),
    ({"attn_mask": masks.padding([1, 2, 3])}, ValueError, "describes 3 batch items.* has 1"),
    ({"attn_mask": masks.prefix(4)}, ValueError, "reaches key 4, but kv_len is 3"),
    ({"sinks": torch.zeros(3)}, ValueError, r"sinks must be floating point \[num_heads\] = \[2\]"),
    ({"sinks": torch.tensor([0.0, torch.inf])}, ValueError, "sinks hold NaN or .inf"),
    ({"sinks": torch.tensor([0, 1])}, ValueError, "sinks must be floating point"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_n6_errors_name_the_argument(change, error, message):
    arguments = {"query": GOOD, "key": GOOD, "value": GOOD} | change
    for function in (eyeline.attention, eyeline.observe):
        with pytest.raises(error, match=message):
            function(**arguments)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0)])
def test_n6_anything_may_be_empty(impl, shape):
    q = torch.randn(shape, requires_grad=True)
    output, seen = eyeline.observe(q, q, torch.randn(*shape[:3], 5), impl=impl)
    assert output.shape == (*shape[:3], 5)
    output.sum().backward()
    assert q.grad.shape == shape
    stats = seen.measure(top_k=2, entropy=True, received=True, pooled=4)
    assert seen.dense().shape == (*shape[:3], shape[2])
    assert stats.top_k.values.shape == (*shape[:3], min(2, shape[2]))
    if shape == (1, 2, 3, 0):  # no width: all scores 0, the average of the values
        torch.testing.assert_close(seen.dense(), torch.full((1, 2, 3, 3), 1 / 3))
