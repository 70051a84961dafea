"""Gradients of each row's log-sum-exp and entropy, for every implementation."""

import pytest
import torch

import _oracle
import eyeline
from eyeline import masks
from eyeline.biases import Alibi


def numbers(impl, query, key, **options):
    """Log-sum-exp and entropy of observed attention."""
    value = torch.zeros(*key.shape[:-1], 2, dtype=key.dtype)
    _, weights = eyeline.observe(query, key, value, enable_gqa=True, impl=impl, **options)
    return weights.logsumexp, weights.entropy()


KINDS = {
    "plain": {},
    "causal": {"is_causal": True},
    "softcap": {"softcap": 1.5},
    "window": {"attn_mask": masks.sliding_window((2, 1))},
    "padding": {"attn_mask": masks.padding([4, 0])},  # rows that see nothing
    "alibi": {"bias": Alibi(torch.tensor([0.5, 0.1, 0.3, 0.2]))},
    "dense": {"attn_mask": torch.arange(15).view(3, 5) % 3 != 0},
}


def tensors(dtype=torch.float64, q_len=5, kv_len=9, head_dim=3):
    query = torch.randn(2, 4, q_len, head_dim, dtype=torch.float64)
    key = torch.randn(2, 2, kv_len, head_dim, dtype=torch.float64)
    bias = torch.randn(4, q_len, kv_len, dtype=torch.float64)
    sinks = torch.randn(4, dtype=torch.float64)
    return [t.to(dtype).requires_grad_() for t in (query, key, bias, sinks)]


def total(impl, query, key, cotangents, **options):
    """A number made of both, rows that see nothing left out."""
    lse, entropy = numbers(impl, query, key, **options)
    first, second = (c.to(lse.dtype) for c in cotangents)
    return (lse.masked_fill(lse == -torch.inf, 0) * first + entropy * second).sum()


@pytest.mark.parametrize("extra", [(), ("bias", "sinks")], ids="-".join)
@pytest.mark.parametrize(("name", "options"), KINDS.items(), ids=list(KINDS))
def test_gradients_are_those_of_finite_differences(impl, extra, name, options):
    if "bias" in options:
        extra = extra[1:]  # one bias at a time
    query, key, bias, sinks = tensors(torch.float64, 3, 5, 2)
    given = [t for n, t in (("bias", bias), ("sinks", sinks)) if n in extra]

    def both(query, key, *given):
        more = dict(zip(extra, given, strict=True))
        lse, entropy = numbers(impl, query, key, **options, **more)
        return lse.masked_fill(lse == -torch.inf, 0), entropy

    both(query, key, *given)  # skips where the kernels have no float64
    assert torch.autograd.gradcheck(both, (query, key, *given))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 9, 3), (70, 130, 16), (129, 65, 40)])
@pytest.mark.parametrize(("name", "options"), KINDS.items(), ids=list(KINDS))
def test_gradients_in_other_precisions_are_the_references(impl, dtype, shape, name, options):
    if name == "dense":
        options = {"attn_mask": torch.rand(shape[:2]) < 0.6}
    with_bias = "bias" not in options
    given = tensors(dtype, *shape)
    truth = [t.detach().double().requires_grad_() for t in given]
    cotangents = torch.randn(2, 2, 4, shape[0])

    def gradients(impl, query, key, bias, sinks):
        more = {"bias": bias} if with_bias else {}
        result = total(impl, query, key, cotangents, sinks=sinks, **more, **options)
        inputs = (query, key, bias, sinks) if with_bias else (query, key, sinks)
        return torch.autograd.grad(result, inputs)

    exact = gradients("reference", *truth)
    found, plain = gradients(impl, *given), gradients("reference", *given)
    floor = 1e-5 if dtype == torch.float32 else 1e-3
    for ours, theirs, wanted in zip(found, plain, exact, strict=True):
        assert ours.dtype == dtype
        allowance = 3 * float((theirs.double() - wanted).abs().max()) + floor
        assert float((ours.double() - wanted).abs().max()) <= allowance


def test_numbers_are_those_of_the_weights(impl):
    query, key, _, sinks = tensors(torch.float32)
    lse, entropy = numbers(impl, query, key, sinks=sinks, attn_mask=masks.causal(4))
    allowed = _oracle.written_out(_oracle.causal(4), (2, 4, 5, 9))
    with torch.no_grad():
        scores = query @ key.repeat_interleave(2, 1).mT / 3**0.5
        scores = scores.masked_fill(~allowed, -torch.inf)
        column = sinks[:, None, None].expand(2, 4, 5, 1)
        wanted = torch.logsumexp(torch.cat([scores, column], -1), -1)
        weights = (scores - wanted[..., None]).exp()
    torch.testing.assert_close(lse, wanted)
    torch.testing.assert_close(entropy, torch.special.entr(weights).sum(-1))


def test_one_live_key_has_no_entropy_to_change(impl):
    """Its log-sum-exp is its score: the gradient is exact."""
    query, key, *_ = tensors(torch.float32, 3, 3)
    lse, entropy = numbers(impl, query, key, attn_mask=masks.sliding_window((0, 0)))
    (gradient,) = torch.autograd.grad(entropy.sum(), query, retain_graph=True)
    assert (gradient == 0).all()
    (gradient,) = torch.autograd.grad(lse.sum(), query)
    torch.testing.assert_close(gradient, key.repeat_interleave(2, 1) / 3**0.5)


def test_rows_that_see_nothing_get_zero_whatever_comes_in(impl):
    query, key, *_ = tensors(torch.float32)
    lse, entropy = numbers(impl, query, key, attn_mask=masks.padding([9, 0]))
    cotangent = torch.full_like(lse, torch.nan)
    cotangent[0] = 1
    gradients = torch.autograd.grad((lse, entropy), (query, key), (cotangent, cotangent))
    for gradient in gradients:
        assert (gradient[1] == 0).all() and gradient[0].isfinite().all()


def test_a_row_that_sees_nan_has_gradients_of_nan_and_no_other_row(impl):
    query, key, *_ = tensors(torch.float32)
    with torch.no_grad():
        query[0, 1, 2, 0] = torch.nan
    lse, entropy = numbers(impl, query, key)
    (gradient,) = torch.autograd.grad(lse.sum() + entropy.sum(), query)
    bad = torch.zeros(2, 4, 5, dtype=torch.bool)
    bad[0, 1, 2] = True
    assert gradient[bad].isnan().all() and gradient[~bad].isfinite().all()
    assert lse[bad].isnan().all() and lse[~bad].isfinite().all()


def test_a_second_derivative_is_refused(impl):
    if impl == "reference":
        pytest.skip("the reference can be differentiated to any order")
    query, key, *_ = tensors(torch.float32)
    _, entropy = numbers(impl, query, key)
    (gradient,) = torch.autograd.grad(entropy.sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="impl='reference'"):
        gradient.sum().backward()


def test_dropout_does_not_change_the_weights_that_are_shown(impl):
    query, key, *_ = tensors(torch.float32)
    plain = numbers(impl, query, key)
    for ours, theirs in zip(numbers(impl, query, key, dropout_p=0.5), plain, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_gradients_nothing_keeps_a_graph(impl):
    query, key, *_ = tensors(torch.float32)
    with torch.no_grad():
        lse, entropy = numbers(impl, query, key)
    assert not lse.requires_grad and not entropy.requires_grad
    lse, entropy = numbers(impl, query.detach(), key.detach())
    assert not lse.requires_grad and not entropy.requires_grad
