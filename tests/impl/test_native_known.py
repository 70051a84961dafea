"""Gradients that begin with what the forward pass found: one walk over the keys instead of two."""

import pytest
import torch

import eyeline
from eyeline import masks
from eyeline.biases import Diagonals, TensorBias
from eyeline.impl import native, reference
from eyeline.impl._native_backward import FEW_KEYS, Results, run_backward
from eyeline.impl._native_operands import Operands
from eyeline.impl._problem import Problem

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

ROWS, KEYS, WIDTH = 211, 333, 24
"""Several blocks of queries for every instruction set, and no whole number of anything."""

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
CASES = {
    "plain": {},
    "causal": {"mask": masks.causal()},
    "window": {"mask": masks.sliding_window(40)},
    "padding": {"mask": masks.padding(torch.tensor([KEYS, 129]))},
    "a mask": {"mask": masks.dense(torch.rand(ROWS, KEYS) > 0.5)},
    "a bias": {"biases": (TensorBias(torch.randn(1, 4, ROWS, KEYS)),)},
    "diagonals": {"biases": (Diagonals(torch.randn(4, ROWS + KEYS - 1), ROWS),)},
    "softcap": {"softcap": 2.0},
    "sinks": {"sinks": torch.randn(4)},
    "dropout": {"dropout_p": 0.4, "dropout_seed": 11},
}


def tensors(q_len=ROWS, dtype=torch.float32, steep=1.0):
    torch.manual_seed(0)
    query = torch.randn(2, 4, q_len, WIDTH) * steep
    key, value = torch.randn(2, 2, KEYS, WIDTH), torch.randn(2, 2, KEYS, WIDTH + 3)
    return tuple(t.to(dtype) for t in (query, key, value))


def problem(dtype=torch.float32, steep=1.0, q_len=ROWS, **options):
    return Problem(*tensors(q_len, dtype, steep), scale=WIDTH**-0.5, **options)


def cotangent(one):
    return torch.randn(*one.query.shape[:3], one.value.shape[-1]).to(one.query.dtype)


def exact(one, gradient):
    """The gradients that autograd finds through the equation, in float64."""
    leaves = tuple(t.double().requires_grad_() for t in one.differentiable)
    output, _ = reference.attend(one.with_tensors(leaves))
    return torch.autograd.grad(output, leaves, gradient.double())


def once(one, gradient):
    operands = Operands.of(one)
    return run_backward(operands, gradient, known=Results.of(operands))


def twice(one, gradient):
    return run_backward(Operands.of(one), gradient)


def error(found, wanted):
    return ((found.double() - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("steep", [1.0, 6.0], ids=["flat", "steep"])
@pytest.mark.parametrize("case", CASES)
def test_one_walk_is_as_exact_as_two(careful_calls, case, steep, dtype):
    one = problem(dtype, steep, **CASES[case])
    gradient = cotangent(one)
    names = Operands.of(one).gradients(True)
    every = (names, once(one, gradient), twice(one, gradient), exact(one, gradient))
    for name, found, other, wanted in zip(*every, strict=True):
        assert found.dtype == other.dtype, name
        assert error(found, wanted) <= 1.5 * error(other, wanted) + 1e-6, name
    assert not careful_calls


def changed(results: Results) -> Results:
    return Results(results.output + 1, results.normalizer)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_known_is_used(dtype):
    one = problem(dtype)
    operands, gradient = Operands.of(one), cotangent(one)
    known = Results.of(operands)
    assert known.output.dtype == torch.float32
    query_gradient, key_gradient, value_gradient = run_backward(operands, gradient, known=known)
    found = run_backward(operands, gradient, known=changed(known))
    assert torch.equal(found[2], value_gradient)  # the output has no part in it
    assert error(found[0], query_gradient.double()) > 0.1
    assert error(found[1], key_gradient.double()) > 0.1


def with_a_peaked_row(dtype, **options):
    """Row 100 of every head has all its weight on key 7."""
    one = problem(dtype, **options)
    one.query[:, :, 100] = 40 * one.key[:, :, 7].repeat_interleave(2, 1)
    return one


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_that_look_at_one_key_make_their_own_sum(dtype):
    """D of such a row must be that of the very products that it is subtracted from."""
    one = with_a_peaked_row(dtype)
    operands, gradient = Operands.of(one), cotangent(one)
    known = Results.of(operands)
    assert (1 / known.normalizer.total[:, :, 100] > 0.99).all()
    right = run_backward(operands, gradient, known=known)[0]
    found = run_backward(operands, gradient, known=changed(known))[0]
    assert torch.equal(found[:, :, 100], right[:, :, 100])
    for row in (0, 99, 101, ROWS - 1):
        assert not torch.equal(found[:, :, row], right[:, :, row])


@pytest.mark.parametrize("case", ["plain", "causal", "a mask", "softcap", "dropout"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_that_looks_at_one_key_changes_no_bit_of_others(dtype, case):
    one, other = problem(dtype, **CASES[case]), with_a_peaked_row(dtype, **CASES[case])
    gradient = cotangent(one)
    rows = torch.arange(ROWS) != 100
    found, expected = once(one, gradient)[0], once(other, gradient)[0]
    assert torch.equal(found[:, :, rows], expected[:, :, rows])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_with_one_key_has_a_gradient_of_exactly_0(dtype):
    one = problem(dtype, mask=masks.sliding_window(1))
    found = once(one, cotangent(one))
    assert not found[0].any() and not found[1].any() and found[2].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_that_sees_nothing_has_a_gradient_of_exactly_0(careful_calls, dtype):
    one = problem(dtype, mask=masks.causal(offset=-10))
    gradient = cotangent(one)
    found = once(one, gradient)
    assert not found[0][:, :, :10].any() and found[0][:, :, 11].any()
    for found_alone, wanted in zip(found, exact(one, gradient), strict=True):
        assert error(found_alone, wanted) < (1e-6 if dtype == torch.float32 else 4e-3)
    assert not careful_calls


@pytest.mark.parametrize("walk", [once, twice])
@pytest.mark.parametrize("case", ["plain", "causal", "dropout"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_keys_and_values_have_in_common_costs_no_precision(dtype, case, walk):
    """dS adds up to 0, but what is rounded of it is multiplied by what all keys share."""
    one = problem(dtype, **CASES[case])
    plain = error(walk(one, gradient := cotangent(one))[0], exact(one, gradient)[0])
    shift = 8 * torch.randn(WIDTH)
    one.query.mul_(0.25)
    one.key.add_(shift.to(dtype))
    one.value.add_(2)
    found, wanted = walk(one, gradient)[0], exact(one, gradient)[0]
    shifted = error(found, wanted)
    assert shifted < (3 if dtype != torch.float32 else 12) * plain


@pytest.mark.parametrize("case", ["softcap", "sinks"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_keys_have_in_common_stays_where_the_gradients_of_scores_do_not_add_up_to_0(
    dtype, case
):
    one = problem(dtype, **CASES[case])
    one.query.mul_(0.25)
    one.key.add_(8)
    gradient = cotangent(one)
    wanted = exact(one, gradient)[0]
    assert error(once(one, gradient)[0], wanted) < (1e-4 if dtype == torch.float32 else 5e-2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_keys_have_in_common_stays_in_the_gradients_of_log_sum_exp(dtype):
    """A row's log-sum-exp moves with all of its keys."""
    one = problem(dtype)
    one.query.mul_(0.25)
    one.key.add_(8)
    query = one.query.requires_grad_()
    found = torch.autograd.grad(native.rows(one).logsumexp.sum(), query)[0]
    scale = WIDTH**-0.5
    keys = one.key.double().repeat_interleave(2, 1)
    wanted = (scale * query.double() @ keys.mT).softmax(-1) @ keys * scale
    assert error(found, wanted) < (1e-6 if dtype == torch.float32 else 5e-3)


@pytest.mark.parametrize("q_len", [1, 2, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_few_queries(dtype, q_len):
    """Their scores are added up in another order in the forward pass."""
    one = problem(dtype, steep=3.0, q_len=q_len)
    gradient = cotangent(one)
    every = (once(one, gradient), twice(one, gradient), exact(one, gradient))
    for found, other, wanted in zip(*every, strict=True):
        assert error(found, wanted) <= 1.5 * error(other, wanted) + 1e-6


@pytest.mark.parametrize("kind", ["padding", "a mask"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_special_value_that_nobody_sees_changes_no_bit(careful_calls, dtype, kind):
    """A value of 1e38 or so makes a dP that is not finite, beside a weight of 0."""
    seen = torch.ones(2, KEYS, dtype=torch.bool)
    seen[1, 120:] = seen[0, 40:50] = False
    mask = masks.keys(seen) if kind == "a mask" else masks.padding(torch.tensor([KEYS, 120]))
    one = problem(dtype, mask=mask)
    gradient = cotangent(one) * 4
    clean = once(one, gradient)
    for number in (torch.nan, torch.inf, torch.finfo(dtype).max, 3.0):
        for tensor in (one.key, one.value):
            tensor[1, :, 120:] = number
            if kind == "a mask":
                tensor[0, :, 40:50] = number
        careful_calls.clear()
        for found, other in zip(once(one, gradient), clean, strict=True):
            assert torch.equal(found, other), number
        assert not careful_calls or not torch.tensor(number).isfinite()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_key_changes_no_bit_of_rows_that_do_not_see_it(dtype):
    """Not even where others of their block do."""
    one = problem(dtype, mask=masks.causal())
    gradient = cotangent(one)
    found = once(one, gradient)[0]
    for number in (1.0, 1000.0):
        one.key[:, :, 127] = number
        other = once(one, gradient)[0]
        assert torch.equal(found[:, :, :127], other[:, :, :127])
        assert not torch.equal(found[:, :, 127:], other[:, :, 127:])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_key_outside_the_window_changes_no_bit(dtype):
    one = problem(dtype, mask=masks.sliding_window(40))
    gradient = cotangent(one)
    found = once(one, gradient)[0]
    one.key[:, :, :4] = 1000.0
    other = once(one, gradient)[0]
    assert torch.equal(found[:, :, 44:], other[:, :, 44:])
    assert not torch.equal(found[:, :, :44], other[:, :, :44])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_output_in_float32_is_a_mean_of_the_values(dtype):
    """Also where weights are rounded before they are multiplied."""
    one = problem(dtype)
    one.value.fill_(3.0)
    output = Results.of(Operands.of(one)).output
    torch.testing.assert_close(output, torch.full_like(output, 3.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["key", "value", "gradient"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_special_value_shows_where_it_is_seen_and_changes_no_bit_elsewhere(dtype, where, number):
    one = problem(dtype, mask=masks.causal())
    gradient = cotangent(one)
    clean = once(one, gradient)
    tensor = {"key": one.key, "value": one.value, "gradient": gradient}[where]
    head = 1 if where != "gradient" else 2  # key head 1 is that of the query heads 2 and 3
    tensor[0, head, 130, 2] = number  # the rows from 130 on see it
    found = once(one, gradient)
    assert found[0][0, 2, 130].isnan().all()
    assert torch.equal(found[0][0, 2, :130], clean[0][0, 2, :130])
    for one_gradient, other in zip(found, clean, strict=True):
        assert torch.equal(one_gradient[1], other[1])
    assert torch.equal(found[0][0, :2], clean[0][0, :2])


def kept(dtype, q_len, kv_len):
    """What autograd holds on to for the gradients of a call, beyond its inputs and the output."""
    query, key, value = (
        torch.randn(1, 2, n, 16, dtype=dtype, requires_grad=True) for n in (q_len, kv_len, kv_len)
    )
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t):
        output = eyeline.attention(query, key, value, impl="native")
    known = {t.data_ptr() for t in (query, key, value, output)}
    return [tuple(t.shape) for t in held if t.data_ptr() not in known]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_kept_is_two_numbers_a_row_and_an_output_in_float32(dtype):
    rows = [(1, 2, 40)] * 2
    output = [] if dtype == torch.float32 else [(1, 2, 40, 16)]
    assert sorted(kept(dtype, 40, FEW_KEYS + 1)) == sorted([*rows, *output])
    assert kept(dtype, 40, FEW_KEYS) == []


def test_the_output_may_not_be_overwritten_before_the_gradients():
    leaves = [torch.randn(1, 2, FEW_KEYS + 1, 16, requires_grad=True) for _ in range(3)]
    output = eyeline.attention(*leaves, impl="native")
    output.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
