import pytest
import torch
from torch import library
from torch.fx.experimental.proxy_tensor import make_fx

import eyeline
from eyeline import masks
from eyeline.biases import Alibi, RelativeBias, TensorBias, alibi_slopes
from eyeline.impl import native
from eyeline.impl._native_operands import Operands
from eyeline.impl._problem import Problem

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

LENGTHS = torch.tensor([6, 4])
IN_ORDER = torch.tensor([[0, 0, 0, 1, 1, 1]])
ALLOWED = torch.tensor([[1, 0, 1, 1, 0, 1]] * 6).bool() | torch.eye(6, dtype=torch.bool)
TABLE = torch.linspace(-1, 1, 64).reshape(32, 2)
CALLS = {
    "plain": {},
    "causal": {"is_causal": True},
    "window": {"attn_mask": masks.sliding_window(2)},
    "padding": {"attn_mask": masks.padding(LENGTHS) & masks.causal()},
    "documents": {"attn_mask": masks.documents(IN_ORDER)},
    "dense": {"attn_mask": ALLOWED},
    "predicate": {"attn_mask": masks.predicate(lambda b, h, q, k: (q - k) % 2 == 0)},
    "tensor bias": {"bias": ALLOWED.float()},
    "alibi": {"bias": Alibi(alibi_slopes(2))},
    "t5": {"bias": RelativeBias(TABLE)},
    "softcap": {"softcap": 3.0},
    "sinks": {"sinks": TABLE[0]},
    "scale": {"scale": 0.1},
}


def tensors(*shape):
    return tuple(torch.randn(shape or (2, 2, 6, 4)).requires_grad_() for _ in range(3))


def everything() -> Problem:
    return Problem(
        *tensors(),
        scale=0.5,
        mask=masks.causal() & masks.padding(LENGTHS) & masks.dense(ALLOWED),
        biases=(
            TensorBias(torch.randn(1, 2, 6, 6).requires_grad_()),
            RelativeBias(torch.randn(32, 2).requires_grad_()),
        ),
        softcap=3.0,
        sinks=torch.randn(2).requires_grad_(),
    )


def leaves(operands: Operands, grad: bool) -> Operands:
    fresh = (t.detach().clone().requires_grad_(grad) for t in operands.differentiable)
    return operands.with_tensors(tuple(fresh))


@pytest.mark.parametrize("problem", [everything(), Problem(*tensors(), scale=1.0)])
def test_the_operators_keep_what_torch_asks_of_them(problem):
    operands = Operands.of(problem)
    for learning in (True, False):
        library.opcheck(torch.ops.eyeline.attend.default, (learning, *leaves(operands, grad=True)))
    gradient = torch.randn(2, 2, 6, 4)
    known = [t.detach() for t in torch.ops.eyeline.attend(True, *operands)[:3]]
    for added in (True, False):
        for kept in (known, [None] * 3):
            library.opcheck(
                torch.ops.eyeline.attend_backward.default,
                (gradient, *kept, added, *leaves(operands, grad=False)),
            )


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_compiled_call_is_one_graph_with_the_same_numbers(call):
    def loss(q, k, v):
        return eyeline.attention(q, k, v, **CALLS[call]).sin()

    torch._dynamo.reset()
    inputs = tensors()
    found = torch.compile(loss, fullgraph=True, backend="aot_eager")(*inputs)
    expected = loss(*inputs)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found.sum(), inputs),
        torch.autograd.grad(expected.sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("bias", ["dense", "relative"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_bias_that_is_not_learnt_gets_no_gradient_and_changes_no_other(bias, broken, monkeypatch):
    from eyeline.impl import _native_ops

    asked = []
    honest = _native_ops.run_backward
    monkeypatch.setattr(
        _native_ops, "run_backward", lambda *a, **k: asked.append(k["added"]) or honest(*a, **k)
    )
    inputs, sinks = tensors(), torch.randn(2).requires_grad_()
    if broken:  # the careful panels' way
        with torch.no_grad():
            inputs[1][0, 0, 2, 1] = torch.nan
    table = torch.randn(32, 2) if bias == "relative" else torch.randn(1, 2, 6, 6)

    def gradients(learnt):
        leaf = table.clone().requires_grad_(learnt)
        added = RelativeBias(leaf) if bias == "relative" else leaf
        out = eyeline.attention(*inputs, bias=added, sinks=sinks, impl="native")
        wanted = [*inputs, sinks, *([leaf] if learnt else [])]
        return torch.autograd.grad(out.sin().sum(), wanted)

    every, fewer = gradients(True), gradients(False)
    assert asked == [True, False] and len(every) == 5 and len(fewer) == 4
    for one, other in zip(every, fewer, strict=False):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_second_derivatives_beside_a_bias_that_is_not_learnt():
    inputs, bias = tensors(), torch.randn(1, 2, 6, 6)

    def penalty(impl, bias):
        out = eyeline.attention(*inputs, bias=bias, impl=impl)
        first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), inputs)

    for ours, theirs in zip(penalty("native", bias), penalty("reference", bias), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    learnt = bias.clone().requires_grad_()
    for ours, theirs in zip(penalty("native", bias), penalty("native", learnt), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_compiled_call_still_refuses_a_bias_of_nan():
    compiled = torch.compile(eyeline.attention, fullgraph=True, backend="aot_eager")
    q, k, v = (t.detach() for t in tensors())
    with pytest.raises(ValueError, match="holds NaN"):
        compiled(q, k, v, bias=torch.full((6, 6), torch.nan))
    with pytest.raises(ValueError, match="sinks hold NaN"):
        compiled(q, k, v, sinks=torch.full((2,), torch.nan))


def test_operands_describe_the_problem_they_come_from():
    problem = everything()
    again = Operands.of(problem).problem()
    ours = eyeline.impl.IMPLEMENTATIONS["reference"].attend(again)[0]
    expected = eyeline.impl.IMPLEMENTATIONS["reference"].attend(problem)[0]
    torch.testing.assert_close(ours, expected)
    tile = problem.whole()
    assert torch.equal(
        again.mask.tile(tile).expand(tile.shape), problem.mask.tile(tile).expand(tile.shape)
    )


@pytest.mark.parametrize("name", ["t5", "alibi", "tensor bias"])
def test_a_bias_takes_the_gradient_that_the_reference_gives(name):
    make = {
        "t5": (lambda p: RelativeBias(p), (32, 2)),
        "alibi": (lambda p: Alibi(p), (2,)),
        "tensor bias": (lambda p: TensorBias(p), (2, 6, 6)),
    }[name]
    inputs = tensors()
    gradients = []
    for impl in ("native", "reference"):
        torch.manual_seed(1)
        parameter = torch.rand(make[1]).requires_grad_()
        output = eyeline.attention(*inputs, bias=make[0](parameter), impl=impl)
        gradients.append(torch.autograd.grad(output.sin().sum(), parameter)[0])
    torch.testing.assert_close(*gradients)


def test_the_second_derivative_is_right_and_the_third_is_refused():
    inputs = tensors(1, 1, 3, 2)

    def derivatives(impl):
        output = eyeline.attention(*inputs, is_causal=True, impl=impl)
        (first,) = torch.autograd.grad(output.square().sum(), inputs[0], create_graph=True)
        return torch.autograd.grad(first.square().sum(), inputs, create_graph=True)

    for ours, theirs in zip(derivatives("native"), derivatives("reference"), strict=True):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(RuntimeError, match=r"impl='reference'"):
        torch.autograd.grad(derivatives("native")[0].sum(), inputs[0])


def test_a_recorded_graph_computes_instead_of_repeating_a_constant():
    q, k, v = (t.detach() for t in tensors())
    graph = make_fx(lambda q, k, v: eyeline.attention(q, k, v))(q, k, v)
    torch.testing.assert_close(graph(q + 1, k, v), eyeline.attention(q + 1, k, v))


def test_vmap_maps_over_every_input_and_gradient():
    q, k, v = (t.detach() for t in tensors(3, 1, 2, 4, 8))
    expected = torch.stack([eyeline.attention(*each) for each in zip(q, k, v, strict=True)])
    torch.testing.assert_close(torch.vmap(eyeline.attention)(q, k, v), expected)
    shared = torch.vmap(eyeline.attention, in_dims=(0, None, None))(q, k[0], v[0])
    torch.testing.assert_close(shared[1], eyeline.attention(q[1], k[0], v[0]))


def test_a_compiled_call_drops_other_weights_each_time():
    q, k, v = (t.detach() for t in tensors())

    def call(q, k, v):
        return eyeline.attention(q, k, v, dropout_p=0.5)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.manual_seed(0)
    first, second = compiled(q, k, v), compiled(q, k, v)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    torch.testing.assert_close(first, call(q, k, v))
