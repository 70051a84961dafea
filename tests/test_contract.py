"""The numerics contract N1 to N9, for every implementation. Special values: test_special_values."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import _grid
import _oracle
import eyeline
from _grid import Case
from eyeline import masks
from eyeline.impl._problem import Problem

NAMES = ["output", "grad_query", "grad_key", "grad_value"]


def run(impl, tensors, cotangent, **options):
    """Output and gradients."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    output = eyeline.attention(*leaves, impl=impl, **options)
    return [output.detach(), *torch.autograd.grad(output, leaves, cotangent)]


@dataclass(frozen=True)
class Breach:
    case: str
    impl: str
    what: str
    error: float
    allowance: float


def too_far(case: Case, impls: list[str], *, backward: bool = True) -> list[Breach]:
    """Breaches of contract N7 (and N1 on the way): errors against twice, thrice plain torch's.

    Plain torch is slow in half precision, and only asked where the floor does not do.
    """
    *tensors, cotangent = case.inputs()
    attn_mask, allowed, bias = case.mask_and_truth()
    count, floor = 4 if backward else 1, _grid.FLOOR[case.dtype]

    def results(attend, dtype):
        leaves = [t.to(dtype).requires_grad_(backward) for t in tensors]
        output = attend(*leaves)
        found = [output]
        if backward:
            found += _oracle.gradients(output, leaves, cotangent)
        return [t.detach().double() for t in found]

    breaches, solved = [], []

    def solve(*t):
        solved.append(_oracle.solve(*t, allowed=allowed, bias=bias))
        return solved[0].output

    exact = results(solve, torch.float64)
    (truth,) = solved

    @cache
    def allowances():
        plain = results(lambda *t: _oracle.plain(*t, allowed=allowed, bias=bias), case.dtype)
        return [(3 if n else 2) * _worst(plain[n], exact[n]) + floor for n in range(count)]

    for impl in impls:
        ours = results(
            lambda *t: eyeline.attention(*t, attn_mask, enable_gqa=True, impl=impl),  # noqa: B023
            case.dtype,
        )
        for n, name in enumerate(NAMES[:count]):
            error = _worst(ours[n], exact[n])
            if not error <= floor and not error <= allowances()[n]:
                breaches.append(Breach(str(case), impl, name, error, allowances()[n]))
        dead = ~truth.live.any(-1)
        for n in range(min(count, 2)):
            if not (ours[n][dead] == 0).all():
                breaches.append(Breach(str(case), impl, f"{NAMES[n]} of a dead row", 1, 0))
    return breaches


def _worst(found, exact):
    assert found.shape == exact.shape
    return float((found - exact).abs().max()) if found.numel() else 0.0


def test_the_judge_agrees_with_loops_and_with_torch():
    """The equation once more, number by number, and torch's own in float64."""
    case = Case(torch.float64, (5, 7), 3, "prefix_causal", "GQA")
    q, k, v, _ = case.inputs()
    rule = _oracle.either(_oracle.spans([0], [3]), _oracle.causal())
    _, allowed, _ = case.mask_and_truth()
    answer = _oracle.solve(q, k, v, allowed=allowed)
    for b, h, i in np.ndindex(2, 4, 5):
        seen = [j for j in range(7) if rule(b, h, i, j)]
        scores = [float(q[b, h, i] @ k[b, h // 2, j]) / 3**0.5 for j in seen]
        parts = np.exp(scores) / np.exp(scores).sum()
        expected = sum(p * v[b, h // 2, j] for p, j in zip(parts, seen, strict=True))
        torch.testing.assert_close(answer.output[b, h, i], expected)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, enable_gqa=True)
    torch.testing.assert_close(answer.output, theirs)


def impls_for(dtype: torch.dtype) -> list[str]:
    """The implementations that compute in `dtype`."""
    tensor = torch.zeros(1, 1, 1, 1, dtype=dtype)
    problem = Problem(tensor, tensor, tensor, scale=1.0)
    return [n for n, i in eyeline.impl.IMPLEMENTATIONS.items() if i.unsupported(problem) is None]


@pytest.mark.parametrize("case", _grid.pairs(), ids=str)
def test_n7_every_pair_of_the_grid(case):
    assert not too_far(case, impls_for(case.dtype))


@pytest.mark.parametrize("head_dim", [3, 8])
def test_n7_sums_over_many_folded_queries_of_narrow_heads(head_dim):
    """MKL adds up these in one long sum: twice the queries of a group, twice the error."""
    for mask in ("documents", "causal_offset"):
        case = Case(torch.float32, (513, 513), head_dim, mask, "GQA")
        assert not too_far(case, impls_for(case.dtype))


@pytest.mark.slow
@pytest.mark.parametrize("head_dim", _grid.HEAD_DIMS)
@pytest.mark.parametrize("dtype", _grid.DTYPES, ids=str)
def test_n7_the_whole_grid(dtype, head_dim):
    impls = impls_for(dtype)
    cases = enumerate(_grid.everything(dtype, head_dim))
    assert not [b for n, case in cases for b in too_far(case, impls, backward=n % 4 == 0)]


@pytest.mark.parametrize("case", _grid.pairs()[::3], ids=str)
@pytest.mark.usefixtures("tiny_panels")
def test_n7_in_tiny_panels(case):
    """Many chunks, blocks and spans: the online softmax at work on short sequences."""
    if max(case.lengths) > 100:
        case = Case(case.dtype, (17, 23), case.head_dim, case.mask, case.heads)
    assert not too_far(case, ["tiled"])


@pytest.mark.parametrize("scale", [-0.7, 0.0, 3.5])
def test_n7_any_scale(impl, scale):
    *tensors, cotangent = Case(torch.float32, (9, 11), 8, "none", "GQA").inputs()
    leaves = [t.double().requires_grad_() for t in tensors]
    exact = _oracle.solve(*leaves, scale=scale).output
    wanted = [exact.detach(), *_oracle.gradients(exact, leaves, cotangent)]
    found = run(impl, tensors, cotangent, scale=scale, enable_gqa=True)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", _grid.DTYPES, ids=str)
@pytest.mark.parametrize("how", ["bool", "bias", "empty_padding", "no_keys"])
def test_n1_a_row_that_sees_nothing_is_exactly_zero(impl, dtype, how):
    q, k, v, cotangent = Case(dtype, (6, 7), 8, "none", "MHA").inputs()
    options, dead = {}, torch.ones(2, 2, 6, dtype=torch.bool)
    if how == "bool":
        options["attn_mask"] = torch.rand(6, 7) < 0.7
        options["attn_mask"][2] = False
    elif how == "bias":
        options["bias"] = torch.zeros(6, 7, dtype=dtype)
        options["bias"][2] = -torch.inf
    elif how == "empty_padding":
        options["attn_mask"] = masks.padding([7, 0])
        dead[0] = False
    else:
        k, v = k[:, :, :0], v[:, :, :0]
    if how in ("bool", "bias"):
        dead[:] = torch.arange(6) == 2
    output, grad_q, _, _ = run(impl, (q, k, v), cotangent, **options)
    assert (output[dead] == 0).all() and (grad_q[dead] == 0).all()
    _, weights = eyeline.observe(q, k, v, impl=impl, **options)
    stats = weights.measure(top_k=3, entropy=True, received=True, pooled=3)
    assert (weights.logsumexp[dead] == -torch.inf).all()
    assert torch.isfinite(weights.logsumexp[~dead]).all()
    assert (weights.dense()[dead] == 0).all()
    assert (stats.top_k.values[dead] == 0).all() and (stats.top_k.indices[dead] == -1).all()
    assert (stats.entropy[dead] == 0).all()
    for found in (stats.received, stats.pooled, output, grad_q):
        assert torch.isfinite(found).all()


def test_n1_with_sinks_too(impl):
    q, k, v, cotangent = Case(torch.float32, (4, 5), 8, "none", "MHA").inputs()
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[1] = False
    output, *gradients = run(
        impl, (q, k, v), cotangent, attn_mask=mask, sinks=torch.tensor([0.5, 2.0])
    )
    assert (output[:, :, 1] == 0).all() and (gradients[0][:, :, 1] == 0).all()
    _, weights = eyeline.observe(q, k, v, mask, sinks=torch.tensor([0.5, 2.0]), impl=impl)
    assert (weights.logsumexp[:, :, 1] == -torch.inf).all()


@pytest.mark.parametrize("lengths", [(6, 6), (4, 9), (9, 4)])
def test_n5_causal_is_torchs_and_joins_masks(impl, lengths):
    q, k, v, _ = Case(torch.float64, lengths, 8, "none", "MHA").inputs()
    ours = eyeline.attention(q, k, v, is_causal=True, impl=impl)
    torch.testing.assert_close(ours, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    corner = torch.ones(lengths, dtype=torch.bool).tril()
    extra = torch.rand(2, 1, *lengths) < 0.6
    extra[..., 0] = True
    both = F.scaled_dot_product_attention(q, k, v, attn_mask=extra & corner)
    symbolic = masks.dense(extra)
    number = torch.zeros(extra.shape, dtype=q.dtype).masked_fill(~extra, -torch.inf)
    noise = torch.randn(lengths, dtype=q.dtype)
    for mask in (extra, symbolic, number):
        found = eyeline.attention(q, k, v, mask, is_causal=True, impl=impl)
        torch.testing.assert_close(found, both)
        _, weights = eyeline.observe(q, k, v, mask, is_causal=True, impl=impl)
        torch.testing.assert_close(weights.dense() @ v, both)
    added = number + noise.masked_fill(~corner, -torch.inf)
    torch.testing.assert_close(
        eyeline.attention(q, k, v, extra, is_causal=True, bias=noise, impl=impl),
        F.scaled_dot_product_attention(q, k, v, attn_mask=added),
    )
    last = kv_minus_q = lengths[1] - lengths[0]
    aligned = torch.ones(lengths, dtype=torch.bool).tril(last)
    if kv_minus_q >= 0:  # otherwise torch's own kernels meet rows that see nothing
        torch.testing.assert_close(
            eyeline.attention(q, k, v, masks.causal(offset=last), impl=impl),
            F.scaled_dot_product_attention(q, k, v, attn_mask=aligned),
        )


def _strided(kind, tensor):
    """The same numbers in other places of memory; a view that is not contiguous."""
    match kind:
        case "transposed":
            return tensor.transpose(-2, -1).contiguous().transpose(-2, -1)
        case "BNHD":
            return tensor.transpose(1, 2).contiguous().transpose(1, 2)
        case "sliced":
            wide = tensor.new_full((*tensor.shape[:2], tensor.shape[2] + 3, 20), 7.0)
            wide[:, :, 2:-1, 4 : 4 + tensor.shape[3]] = tensor
            return wide[:, :, 2:-1, 4 : 4 + tensor.shape[3]]
        case "every_second":
            return torch.stack([tensor, tensor + 9], -1).flatten(-2)[..., ::2]
        case _:
            return tensor[:1, :1].expand(tensor.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["transposed", "BNHD", "sliced", "every_second", "expanded"])
def test_n8_any_strides_and_inputs_unchanged(impl, kind, dtype):
    tensors = [_strided(kind, t) for t in Case(dtype, (9, 11), 8, "none", "GQA").inputs()]
    copies = [t.clone(memory_format=torch.contiguous_format) for t in tensors]
    mask = (torch.rand(2, 4, 9, 11) < 0.7).transpose(0, 1).contiguous().transpose(0, 1)
    versions = [t._version for t in tensors]
    *q_k_v, cotangent = tensors
    options = {"attn_mask": mask, "enable_gqa": True, "impl": impl}
    leaves = [t.detach().requires_grad_() for t in q_k_v]
    output = eyeline.attention(*leaves, **options)
    found = [output, *torch.autograd.grad(output, leaves, cotangent)]
    straight = run(impl, copies[:3], copies[3], attn_mask=mask.contiguous(), enable_gqa=True)
    # BLAS adds up in another order when it reads transposed: the last bits may differ
    near = {"atol": 3e-6, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-2, "rtol": 1e-2}
    for ours, theirs in zip(found, straight, strict=True):
        torch.testing.assert_close(ours, theirs, **near)
    _, weights = eyeline.observe(*q_k_v, **options)
    _, plain = eyeline.observe(*copies[:3], **options)
    torch.testing.assert_close(weights.dense(), plain.dense(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weights.received(), plain.received(), atol=1e-5, rtol=1e-5)
    for tensor, copy, version in zip(tensors, copies, versions, strict=True):
        assert torch.equal(tensor, copy) and tensor._version == version


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_n9_fifty_runs_give_the_same_bits(impl, dtype):
    *tensors, cotangent = Case(dtype, (129, 97), 16, "none", "GQA").inputs()
    options = {"is_causal": True, "enable_gqa": True, "softcap": 20.0}
    first = run(impl, tensors, cotangent, **options)
    for _ in range(49):
        again = run(impl, tensors, cotangent, **options)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    _, weights = eyeline.observe(*tensors, impl=impl, **options)
    wanted = {"top_k": 4, "entropy": True, "received": True, "pooled": 7}
    stats = weights.measure(**wanted)
    for _ in range(10):
        again = eyeline.observe(*tensors, impl=impl, **options)[1].measure(**wanted)
        assert torch.equal(stats.top_k.values, again.top_k.values)
        assert torch.equal(stats.top_k.indices, again.top_k.indices)
        for name in ("entropy", "received", "pooled", "logsumexp"):
            assert torch.equal(getattr(stats, name), getattr(again, name))
