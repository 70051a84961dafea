"""Contract N2, N3 and N4: NaN, infinities, huge and subnormal numbers, seen and unseen."""

import math

import pytest
import torch
import torch.nn.functional as F

import _oracle
import eyeline
from eyeline import masks

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
PROBES = ["nan", "inf", "-inf", "huge", "-huge", "max", "1e30", "subnormal", "-0"]
WANTED = {"top_k": 4, "entropy": True, "received": True}
# Queries 0 and 5 of item 0 and heads 2, 3 see nothing; key 9 is nobody's; key 4 is seen from row 4.
Q_LEN, KV_LEN, DEAD_ROW, DEAD_KEY, LIVE_KEY = 8, 11, 5, 9, 4


def probe(name: str, dtype: torch.dtype) -> float:
    info = torch.finfo(dtype)
    return {
        "nan": math.nan,
        "inf": math.inf,
        "-inf": -math.inf,
        "huge": info.max / 2,
        "-huge": -info.max / 2,
        "max": info.max,
        "1e30": min(1e30, info.max / 4),
        "subnormal": info.smallest_normal / 4,
        "-0": -0.0,
    }[name]


def scene(dtype):
    """Inputs, the allowed cells as a tensor, and as masks of two kinds."""
    sizes = [(4, Q_LEN, 8), (2, KV_LEN, 8), (2, KV_LEN, 6), (4, Q_LEN, 6)]
    tensors = [torch.randn(2, *size).to(dtype) for size in sizes]
    allowed = torch.ones(2, 4, Q_LEN, KV_LEN, dtype=torch.bool).tril()
    allowed[:, :, DEAD_ROW] = False
    allowed[..., DEAD_KEY] = False
    return tensors, allowed


def everything(impl, tensors, *, sinks=None, **options):
    """Output, gradients and every statistic, by name."""
    *inputs, cotangent = tensors
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    options |= {"enable_gqa": True, "impl": impl, "sinks": sinks}
    output = eyeline.attention(*leaves, **options)
    names = ["grad_query", "grad_key", "grad_value"]
    found = dict(zip(names, torch.autograd.grad(output, leaves, cotangent), strict=True))
    found["output"] = output.detach()
    measured, seen = eyeline.observe(
        *inputs, **options, measure=eyeline.Measure(**WANTED, pooled=3)
    )
    found["measured_output"] = measured
    found |= {"dense": seen.dense(), "row": seen[0, 1], "logsumexp": seen.logsumexp}
    for reduce in ("sum", "max", "mean"):
        found[f"pooled_{reduce}"] = seen.pooled(3, 4, reduce=reduce)
        found[f"tile_{reduce}"] = seen.tile(1, 0, 0, reduce=reduce)
    stats = seen.measure(**WANTED)
    found |= {"values": stats.top_k.values, "indices": stats.top_k.indices}
    return found | {"entropy": stats.entropy, "received": stats.received}


def assert_same_bits(found, expected):
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("how", ["mask", "bias"])
def test_n2_what_nobody_sees_changes_no_bit(impl, dtype, name, how):
    tensors, allowed = scene(dtype)
    if how == "mask":
        options = {"attn_mask": allowed}
    else:
        options = {"attn_mask": torch.zeros(allowed.shape).to(dtype)}
        options["attn_mask"].masked_fill_(~allowed, -torch.inf)
    clean = everything(impl, tensors, **options)
    for site, where in ((0, DEAD_ROW), (1, DEAD_KEY), (2, DEAD_KEY)):
        dirty = [t.clone() for t in tensors]
        dirty[site][:, :, where, 2] = probe(name, dtype)
        assert_same_bits(everything(impl, dirty, **options), clean)


@pytest.mark.parametrize("name", ["nan", "inf"])
def test_n2_the_gradient_of_a_row_that_sees_nothing_goes_nowhere(impl, name):
    tensors, allowed = scene(torch.float32)
    clean = everything(impl, tensors, attn_mask=allowed)
    tensors[3][:, :, DEAD_ROW, 1] = probe(name, torch.float32)
    assert_same_bits(everything(impl, tensors, attn_mask=allowed), clean)


@pytest.mark.parametrize("name", ["nan", "inf", "huge"])
def test_n2_symbolic_masks_softcap_sinks_and_bias(impl, name):
    tensors, _ = scene(torch.float32)
    options = {
        "attn_mask": masks.padding([7, 9]) & masks.causal(2),
        "softcap": 3.0,
        "bias": eyeline.biases.Alibi(eyeline.biases.alibi_slopes(4)),
        "sinks": torch.randn(4),
    }
    clean = everything(impl, tensors, **options)
    for site in (1, 2):
        dirty = [t.clone() for t in tensors]
        dirty[site][0, :, 7:] = probe(name, torch.float32)
        dirty[site][1, :, 9:] = probe(name, torch.float32)
        assert_same_bits(everything(impl, dirty, **options), clean)


def test_n2_a_hidden_score_whose_bias_overflows(impl):
    """Key and bias are ordinary by themselves; their sum would be infinite, were it not masked."""
    tensors, allowed = scene(torch.float32)
    bias = torch.zeros(allowed.shape)
    clean = everything(impl, tensors, attn_mask=allowed, bias=bias)
    bias[..., DEAD_KEY] = torch.finfo(torch.float32).max
    tensors[1][:, :, DEAD_KEY] = 1e36
    assert_same_bits(everything(impl, tensors, attn_mask=allowed, bias=bias), clean)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("site", ["query", "key", "value"])
def test_n3_nan_in_exactly_the_rows_that_see_it(impl, dtype, name, site):
    tensors, allowed = scene(dtype)
    clean = everything(impl, tensors, attn_mask=allowed)
    dirty = [t.clone() for t in tensors]
    bad = torch.zeros(2, 4, Q_LEN, dtype=torch.bool)  # item 0, key/value head 1: heads 2 and 3
    if site == "query":
        dirty[0][0, 2, LIVE_KEY, 3] = probe(name, dtype)
        bad[0, 2, LIVE_KEY] = True
    else:
        dirty[1 + (site == "value")][0, 1, LIVE_KEY, 3] = probe(name, dtype)
        bad[0, 2:] = allowed[0, 2:, :, LIVE_KEY]
    found = everything(impl, dirty, attn_mask=allowed)
    for output in ("output", "measured_output", "grad_query"):
        assert found[output][bad].isnan().all(), output
        assert torch.equal(found[output][~bad], clean[output][~bad]), output
    # a key takes NaN gradients from the bad rows that see it, and only from those
    poisoned = (bad[..., None] & allowed).view(2, 2, 2 * Q_LEN, KV_LEN).any(2)
    for gradient in ("grad_key", "grad_value"):
        assert found[gradient][poisoned].isnan().all(), gradient
        assert torch.equal(found[gradient][~poisoned], clean[gradient][~poisoned]), gradient
    if site == "value":  # the map is about weights: values read later are no part of them
        return
    assert found["logsumexp"][bad].isnan().all() and found["entropy"][bad].isnan().all()
    assert (found["indices"][bad] == -1).all()
    cells = bad[..., None] & allowed
    assert found["dense"][cells].isnan().all()
    assert torch.equal(found["dense"][~cells], clean["dense"][~cells])
    columns = cells.any(2)
    assert found["received"][columns].isnan().all()
    assert torch.equal(found["received"][~columns], clean["received"][~columns])
    for reduce in ("sum", "max", "mean"):
        hit = _oracle.pooled(cells.double(), 3, 4, "max") > 0
        assert found[f"pooled_{reduce}"][hit].isnan().all()
        assert torch.equal(found[f"pooled_{reduce}"][~hit], clean[f"pooled_{reduce}"][~hit])
    for name in ("logsumexp", "entropy", "values", "indices"):
        assert torch.equal(found[name][~bad], clean[name][~bad]), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_n3_a_score_that_overflows_is_nan_and_its_neighbours_are_not(impl, dtype):
    tensors, allowed = scene(dtype)
    tensors[0][0, 0, 6] = torch.finfo(dtype).max / 2
    tensors[1][0, 0] = 3.0
    output = eyeline.attention(*tensors[:3], allowed, enable_gqa=True, impl=impl)
    bad = torch.zeros(2, 4, Q_LEN, dtype=torch.bool)
    bad[0, 0, 6] = True
    assert output[bad].isnan().all() and torch.isfinite(output[~bad]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [1, 7, 40])
def test_n3_large_values_that_do_not_overflow_are_exact(impl, dtype, length):
    """An average of numbers near the largest is near the largest, however many there are."""
    query, key = torch.zeros(1, 1, 2, 4, dtype=dtype), torch.zeros(1, 1, length, 4, dtype=dtype)
    for share in (2, 5, 8, 64):
        value = torch.full((1, 1, length, 4), torch.finfo(dtype).max / share, dtype=dtype)
        output = eyeline.attention(query, key, value, impl=impl)
        torch.testing.assert_close(output, value[:, :, :1].expand(output.shape))
        measured, _ = eyeline.observe(
            query, key, value, impl=impl, measure=eyeline.Measure(entropy=True)
        )
        torch.testing.assert_close(measured, value[:, :, :1].expand(output.shape))


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_n3_a_scale_that_is_no_number_shows(impl, scale):
    tensors, allowed = scene(torch.float32)
    output = eyeline.attention(*tensors[:3], allowed, scale=scale, enable_gqa=True, impl=impl)
    dead = ~allowed.any(-1)
    assert output[~dead].isnan().all() and (output[dead] == 0).all()


def test_n3_where_torchs_cpu_kernel_is_silent(impl):
    """pytorch#141128: a NaN in a query row comes out of torch's fused CPU kernel as 0."""
    q, k, v = (torch.randn(1, 2, 8, 16) for _ in range(3))
    q[0, 0, 3, 5] = math.nan
    theirs = F.scaled_dot_product_attention(q, k, v)
    if not (theirs[0, 0, 3] == 0).all():
        pytest.skip("this torch has repaired pytorch#141128")
    ours = eyeline.attention(q, k, v, impl=impl)
    assert ours[0, 0, 3].isnan().all()
    ours[0, 0, 3] = theirs[0, 0, 3] = 0
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("argument", ["bias", "attn_mask", "Alibi", "RelativeBias"])
@pytest.mark.parametrize("name", ["nan", "inf"])
def test_n4_a_bias_is_finite_or_minus_infinity(impl, argument, name):
    q = torch.randn(1, 2, 5, 8)
    values = torch.zeros({"Alibi": (2,), "RelativeBias": (8, 2)}.get(argument, (5, 5)))
    values.view(-1)[1] = probe(name, torch.float32)
    bias = values if argument in ("bias", "attn_mask") else None
    if bias is None:
        bias = getattr(eyeline.biases, argument)(values)
    keyword = "attn_mask" if argument == "attn_mask" else "bias"
    shown = {"bias": "bias", "attn_mask": "bias"}.get(argument, argument)
    with pytest.raises(ValueError, match=rf"{shown}.* holds {'NaN' if name == 'nan' else r'.inf'}"):
        eyeline.attention(q, q, q, impl=impl, **{keyword: bias})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_n4_the_smallest_number_is_a_number(impl, dtype):
    q, k, v = (torch.randn(1, 2, 5, 8).to(dtype) for _ in range(3))
    bias = torch.zeros(5, 5, dtype=dtype)
    bias[1] = torch.finfo(dtype).min  # the whole row: the weights must not become 0
    bias[3, :2] = torch.finfo(dtype).min
    exact = _oracle.solve(q, k, v, bias=bias)
    output, weights = eyeline.observe(q, k, v, bias, impl=impl)
    near = {"atol": 2e-2, "rtol": 2e-2} if dtype.itemsize == 2 else {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(output.double(), exact.output, **near)
    assert (weights.dense()[:, :, 3, :2] == 0).all()


@pytest.mark.parametrize("level", [-1e4, -1e9, torch.finfo(torch.float32).min])
def test_n4_weights_and_gradients_of_a_row_far_below_zero(impl, level):
    """HF's padded rows, everything at finfo.min: a float32 logsumexp swallows log(n) down there."""
    q, k, v, cotangent = (torch.randn(1, 2, 5, 8) for _ in range(4))
    bias = torch.zeros(5, 5)
    bias[1] = level
    leaves = [t.requires_grad_() for t in (q, k, v)]
    seen = torch.ones(5, 5, dtype=torch.bool)
    # judged in float32: at -1e9 its numbers are 64 apart, all scores of the row become equal
    plain = _oracle.plain(*leaves, allowed=seen, bias=bias)
    wanted = [plain.detach(), *_oracle.gradients(plain, leaves, cotangent)]
    found = everything(impl, [q.detach(), k.detach(), v.detach(), cotangent], attn_mask=bias)
    names = ["output", "grad_query", "grad_key", "grad_value"]
    for name, truth in zip(names, wanted, strict=True):
        torch.testing.assert_close(found[name], truth, atol=2e-3, rtol=2e-3)
    assert (found["dense"].sum(-1) - 1).abs().max() < 1e-5
    assert (found["values"].sum(-1) <= 1 + 1e-5).all()
    if level < -1e6:
        torch.testing.assert_close(found["dense"][:, :, 1], torch.full((1, 2, 5), 0.2))
        torch.testing.assert_close(found["entropy"][:, :, 1], torch.full((1, 2), math.log(5)))


def test_n4_minus_infinity_is_a_mask(impl):
    tensors, allowed = scene(torch.float64)
    bias = torch.zeros(allowed.shape, dtype=torch.float64).masked_fill(~allowed, -torch.inf)
    by_mask, by_bias = (everything(impl, tensors, attn_mask=mask) for mask in (allowed, bias))
    for name in by_mask:
        torch.testing.assert_close(by_bias[name], by_mask[name], rtol=1e-12, atol=1e-13)


def test_subnormal_numbers_are_numbers(impl):
    """Values so small that hardware might flush them come out averaged, not as 0."""
    small = torch.finfo(torch.float32).smallest_normal / 4
    q, k = torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 4, 4)
    v = torch.full((1, 1, 4, 4), small)
    assert torch.equal(eyeline.attention(q, k, v, impl=impl), torch.full((1, 1, 3, 4), small))
