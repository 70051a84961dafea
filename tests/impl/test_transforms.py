"""What `torch.func` transforms: the kernels' gradients there are those of autograd."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacrev, jvp, vjp, vmap

import eyeline
from eyeline import masks
from eyeline.biases import RelativeBias
from eyeline.impl import native
from eyeline.impl._native_backward import FEW_KEYS

kernels = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

forward = pytest.mark.filterwarnings(  # torch's own, where it begins with forward mode
    "ignore:.*torch.jit.script.*:DeprecationWarning"
)

LENGTHS = pytest.mark.parametrize("length", [6, FEW_KEYS + 5])
CALLS = {
    "causal": lambda n: {"is_causal": True},
    "padding": lambda n: {"attn_mask": masks.padding(torch.tensor([n - 2])) & masks.causal()},
    "dense": lambda n: {"attn_mask": torch.eye(n).bool() | (torch.arange(n) % 3 == 0)},
    "softcap": lambda n: {"softcap": 3.0},
}


def tensors(length: int, *before: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(*before, 1, 2, length, 8) for _ in range(3))


@kernels
@LENGTHS
@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_those_of_autograd(name, length):
    inputs = tensors(length)
    options = CALLS[name](length)

    def loss(*inputs):
        return eyeline.attention(*inputs, **options, impl="native").square().sum()

    leaves = tuple(t.clone().requires_grad_() for t in inputs)
    expected = torch.autograd.grad(loss(*leaves), leaves)
    for ours, theirs in zip(grad(loss, argnums=(0, 1, 2))(*inputs), expected, strict=True):
        assert torch.equal(ours, theirs)
    output, pull = vjp(lambda *i: eyeline.attention(*i, **options, impl="native"), *inputs)
    for ours, theirs in zip(pull(2 * output), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@kernels
@LENGTHS
def test_gradients_of_tables_and_sinks(length):
    inputs, table, sinks = tensors(length), torch.randn(32, 2), torch.randn(2)

    def loss(table, sinks, impl):
        options = {"bias": RelativeBias(table), "sinks": sinks, "impl": impl}
        return eyeline.attention(*inputs, **options).square().sum()

    ours, theirs = (grad(loss, argnums=(0, 1))(table, sinks, i) for i in ("native", "reference"))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@kernels
@LENGTHS
def test_a_gradient_for_each_example(length):
    inputs = tensors(length, 3)

    def loss(*inputs):
        return eyeline.attention(*inputs, is_causal=True).square().sum()

    each = vmap(grad(loss, argnums=(0, 1, 2)))(*inputs)
    for i in range(3):
        alone = grad(loss, argnums=(0, 1, 2))(*(t[i] for t in inputs))
        for ours, theirs in zip(each, alone, strict=True):
            assert torch.equal(ours[i], theirs)
    of_all = grad(lambda *t: vmap(loss)(*t).sum(), argnums=(0, 1, 2))(*inputs)
    torch.testing.assert_close(of_all, each)


@kernels
@LENGTHS
def test_jacobians(length):
    query, key, value = tensors(length)

    def some(query, impl):
        return eyeline.attention(query, key, value, impl=impl)[..., :2, 0]

    ours, theirs = (jacrev(some)(query, impl) for impl in ("native", "reference"))
    torch.testing.assert_close(ours, theirs)


@kernels
@LENGTHS
def test_second_gradients_and_no_third(length):
    query, key, value = tensors(length)

    def slope(query, impl):
        loss = grad(lambda q: eyeline.attention(q, key, value, impl=impl).square().sum())
        return loss(query).square().sum()

    ours, theirs = (grad(slope)(query, impl) for impl in ("native", "reference"))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError, match="impl='reference'"):
        grad(lambda q: grad(slope)(q, "native").sum())(query)


@kernels
def test_compiled_gradients_leave_the_graph_and_are_right():
    query, key, value = tensors(20)

    def slope(query):
        return grad(lambda q: eyeline.attention(q, key, value).square().sum())(query)

    compiled = torch.compile(slope, backend="aot_eager")
    torch.testing.assert_close(compiled(query), slope(query))


@kernels
def test_numbers_of_the_rows():
    query, key, value = tensors(20)

    def spread(query, impl):
        return eyeline.observe(query, key, value, impl=impl)[1].entropy().sum()

    ours, theirs = (grad(spread)(query, impl) for impl in ("native", "reference"))
    torch.testing.assert_close(ours, theirs)


@forward
@pytest.mark.parametrize("name", ["native", "tiled", "auto"])
def test_forward_mode_is_refused_not_forgotten(name):
    """A tangent that is dropped on the way is a derivative of 0."""
    inputs = tensors(6)

    def output(query):
        return eyeline.attention(query, *inputs[1:], impl=name)

    if name == "native" and native.missing() is not None:
        pytest.skip(str(native.missing()))
    with pytest.raises(ValueError, match=r"forward mode.*impl='reference'"):
        jvp(output, inputs[:1], inputs[:1])
    with pytest.raises((ValueError, NotImplementedError), match=r"forward mode|torch\.func"):
        hessian(lambda query: output(query).sum())(inputs[0])
    with forward_ad.dual_level():
        plain = output(inputs[0])  # nothing carries a tangent
        with pytest.raises(ValueError, match=r"forward mode.*impl='reference'"):
            output(forward_ad.make_dual(inputs[0], inputs[1]))
    torch.testing.assert_close(plain, output(inputs[0]))


@kernels
def test_a_hessian_in_reverse():
    query, key, value = tensors(6)

    def energy(query, impl):
        return eyeline.attention(query, key, value, impl=impl).square().sum()

    ours = jacrev(jacrev(lambda query: energy(query, "native")))(query)
    torch.testing.assert_close(ours, jacrev(jacrev(lambda q: energy(q, "reference")))(query))


@kernels
def test_looking_is_done_outside():
    query, key, value = tensors(6)

    def look(query, what):
        output, seen = eyeline.observe(query, key, value, impl="native")
        what(seen)
        return output.sum()

    for what in (lambda seen: seen.top_k(2), lambda seen: seen.dense()):
        with pytest.raises(ValueError, match="look outside"):
            grad(look)(query, what)


@forward
def test_forward_mode_of_the_reference():
    query, key, value = tensors(6)

    def output(query):
        return eyeline.attention(query, key, value, impl="reference")

    _, tangent = jvp(output, (query,), (key,))
    jacobian = jacrev(output)(query)
    torch.testing.assert_close(tangent, torch.tensordot(jacobian, key, 4))


@pytest.mark.parametrize("transform", [grad, jacrev])
def test_tiled_says_that_it_cannot_be_transformed(transform):
    query, key, value = tensors(6)
    with pytest.raises(ValueError, match=r"torch\.func"):
        transform(lambda q: eyeline.attention(q, key, value, impl="tiled").sum())(query)
    # what is not transformed itself may be called there
    transform(lambda q: q.sum() + eyeline.attention(key, key, value, impl="tiled").sum())(query)


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("number", [torch.nan, torch.inf, 3e38])
def test_special_values_of_one_example_stay_there(impl, number, site):
    """Which way is taken depends on all of them, what comes out does not."""
    if impl == "tiled":
        pytest.skip("says that it cannot be transformed")
    inputs = tensors(6, 3)
    inputs[site][1, 0, 1, 4, 2] = number

    def loss(*inputs):
        return eyeline.attention(*inputs, is_causal=True, impl=impl).square().sum()

    outputs = vmap(lambda *i: eyeline.attention(*i, is_causal=True, impl=impl))(*inputs)
    gradients = vmap(grad(loss, argnums=(0, 1, 2)))(*inputs)
    for i in range(3):
        alone = tuple(t[i] for t in inputs)
        expected = eyeline.attention(*alone, is_causal=True, impl=impl)
        torch.testing.assert_close(outputs[i], expected, rtol=0, atol=0, equal_nan=True)
        leaves = tuple(t.clone().requires_grad_() for t in alone)
        for ours, theirs in zip(gradients, torch.autograd.grad(loss(*leaves), leaves), strict=True):
            torch.testing.assert_close(ours[i], theirs, equal_nan=True)


@forward
def test_forward_mode_of_special_values():
    query, key, value = tensors(6)
    key[0, 0, 4] = torch.nan
    _, tangent = jvp(
        lambda q: eyeline.attention(q, key, value, is_causal=True, impl="reference"),
        (query,),
        (key.nan_to_num(1.0),),
    )
    assert tangent[0, 0, 4:].isnan().all() and tangent[0, 0, :4].isfinite().all()
    assert tangent[0, 1].isfinite().all()
