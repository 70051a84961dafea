"""The drop-in against `torch.nn.MultiheadAttention`, and torch's own samples as a judge."""

import copy
import itertools
import random

import pytest
import torch
from torch.testing._internal.common_modules import module_db

from eyeline.nn import MultiheadAttention

(INFO,) = (m for m in module_db if m.name == "nn.MultiheadAttention")


def samples(dtype):
    return INFO.module_inputs_func(
        INFO, device="cpu", dtype=dtype, requires_grad=True, training=False
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_sample_of_torch(dtype):
    """With torch's reference function, and against torch's module with the same weights."""
    found = samples(dtype)
    assert len(found) == 64
    for sample in found:
        how = sample.constructor_input
        ours = MultiheadAttention(*how.args, **how.kwargs).to(dtype).eval()
        theirs = torch.nn.MultiheadAttention(*how.args, **how.kwargs).to(dtype).eval()
        theirs.load_state_dict(ours.state_dict())
        given = sample.forward_input
        output = ours(*given.args, **given.kwargs)
        reference = sample.reference_fn(ours, *given.args, **given.kwargs)
        expected = theirs(*given.args, **given.kwargs)
        for one, same, torchs in zip(output, reference, expected, strict=True):
            assert torch.allclose(one, same, atol=1e-6)
            assert torch.allclose(one, torchs, atol=1e-6)
        leaves = [*given.args, *ours.parameters()]
        gradients = torch.autograd.grad(output[0].sum() + output[1].square().sum(), leaves)
        torchs = torch.autograd.grad(
            expected[0].sum() + expected[1].square().sum(), [*given.args, *theirs.parameters()]
        )
        for one, other in zip(gradients, torchs, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)  # inputs go up to 9


CASES = list(
    itertools.product(
        [False, True],  # batch_first
        [False, True],  # bias
        [False, True],  # other widths for key and value
        [(False, False), (True, False), (False, True), (True, True)],  # bias_kv, zero_attn
    )
)


def masks_of(kind, batch, heads, q_len, kv_len):
    """`attn_mask` and `key_padding_mask`; no query is left without a key."""
    padding = torch.zeros(batch, kv_len, dtype=torch.bool)
    padding[0, kv_len - 2 :] = True
    blocked = torch.rand(q_len, kv_len) < 0.4
    blocked[:, 0] = False
    per_head = torch.rand(batch * heads, q_len, kv_len) < 0.4
    per_head[:, :, 0] = False
    numbers = torch.randn(q_len, kv_len)
    return {
        "none": (None, None),
        "padding": (None, padding),
        "blocked": (blocked, None),
        "both": (blocked, padding),
        "per head": (per_head, padding),
        "numbers": (numbers, None),
        "all numbers": (numbers, torch.zeros(batch, kv_len).masked_fill(padding, -torch.inf)),
    }[kind]


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize(
    "kind", ["none", "padding", "blocked", "both", "per head", "numbers", "all numbers"]
)
def test_against_torch(case, kind):
    batch_first, bias, widths, (bias_kv, zero_attn) = CASES[case]
    draw = random.Random(f"{case} {kind}")
    batch, q_len, kv_len, heads = (
        draw.choice([1, 3]),
        4,
        draw.choice([4, 6]),
        draw.choice([1, 2, 4]),
    )
    torch.manual_seed(case)
    theirs = torch.nn.MultiheadAttention(
        16,
        heads,
        bias=bias,
        add_bias_kv=bias_kv,
        add_zero_attn=zero_attn,
        kdim=10 if widths else None,
        vdim=12 if widths else None,
        batch_first=batch_first,
    )
    ours = MultiheadAttention(
        16,
        heads,
        bias=bias,
        add_bias_kv=bias_kv,
        add_zero_attn=zero_attn,
        kdim=10 if widths else None,
        vdim=12 if widths else None,
        batch_first=batch_first,
    )
    ours.load_state_dict(theirs.state_dict())
    sides = [
        torch.randn(*((batch, n) if batch_first else (n, batch)), width)
        for n, width in (
            (q_len, 16),
            (kv_len, 10 if widths else 16),
            (kv_len, 12 if widths else 16),
        )
    ]
    attn_mask, padding = masks_of(kind, batch, heads, q_len, kv_len)
    for need, average in ((True, True), (True, False), (False, True)):
        how = {
            "need_weights": need,
            "average_attn_weights": average,
            "attn_mask": attn_mask,
            "key_padding_mask": padding,
        }
        results = []
        for module in (ours, theirs):
            leaves = [s.clone().requires_grad_() for s in sides]
            output, weights = module(*leaves, **how)
            total = output.square().sum() + (weights.square().sum() if need else 0)
            gradients = torch.autograd.grad(total, leaves)
            results.append((output, weights, *gradients))
        for one, other in zip(*results, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                assert one.shape == other.shape
                assert torch.allclose(one, other, atol=1e-5), (kind, how)


def test_the_causal_hint():
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    ours = MultiheadAttention(16, 4, batch_first=True).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 16)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    for need in (True, False):
        how = {"attn_mask": future, "is_causal": True, "need_weights": need}
        for one, other in zip(ours(x, x, x, **how), theirs(x, x, x, **how), strict=True):
            assert one is other is None or torch.allclose(one, other, atol=1e-6)
    with pytest.raises(RuntimeError, match="give attn_mask with it"):
        ours(x, x, x, is_causal=True)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_sees_nothing_gets_nothing(need_weights):
    ours = MultiheadAttention(16, 4, batch_first=True)
    x = torch.randn(2, 5, 16, requires_grad=True)
    padding = torch.tensor([[False] * 5, [True] * 5])
    output, weights = ours(x, x, x, key_padding_mask=padding, need_weights=need_weights)
    assert torch.equal(output[1], ours.out_proj.bias.expand(5, 16))
    if need_weights:
        assert torch.equal(weights[1], torch.zeros(5, 5))
    total = output.sum() if weights is None else output.sum() + weights.square().sum()
    total.backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in ours.parameters())


def test_it_is_torchs_in_everything_else():
    ours, theirs = MultiheadAttention(16, 4), torch.nn.MultiheadAttention(16, 4)
    assert isinstance(ours, torch.nn.MultiheadAttention)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in vars(theirs).items():
        if not name.startswith("_"):
            assert getattr(ours, name) == value
    torch.manual_seed(2)
    one = MultiheadAttention(16, 4)
    torch.manual_seed(2)
    other = torch.nn.MultiheadAttention(16, 4)
    assert torch.equal(one.in_proj_weight, other.in_proj_weight)  # the same initialisation


def test_dropout_drops_the_weights_it_gives():
    ours = MultiheadAttention(16, 2, dropout=0.5, batch_first=True)
    x = torch.randn(2, 20, 16)
    output, weights = ours(x, x, x, average_attn_weights=False)
    assert 0.3 < (weights == 0).float().mean() < 0.7
    value = torch.nn.functional.linear(
        x, *(t.chunk(3)[2] for t in (ours.in_proj_weight, ours.in_proj_bias))
    )
    heads = weights @ value.unflatten(-1, (2, 8)).transpose(1, 2)
    expected = ours.out_proj(heads.transpose(1, 2).flatten(2))
    assert torch.allclose(output, expected, atol=1e-5)
    assert torch.equal(*(ours.eval()(x, x, x)[0] for _ in range(2)))


def test_in_torchs_encoder():
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
    swapped = copy.deepcopy(layer)
    swapped.self_attn = MultiheadAttention(16, 4, batch_first=True)
    swapped.load_state_dict(layer.state_dict())
    x = torch.randn(3, 6, 16)
    padding = torch.arange(6) >= torch.tensor([[6], [4], [2]])
    for mode in (True, False):
        layer.train(mode)
        swapped.train(mode)
        found, expected = (m(x, src_key_padding_mask=padding) for m in (swapped, layer))
        assert torch.allclose(found[~padding], expected[~padding], atol=1e-5)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_input_goes_torchs_way():
    ours = MultiheadAttention(16, 4, batch_first=True).eval()
    nested = torch.nested.nested_tensor([torch.randn(3, 16), torch.randn(5, 16)])
    with torch.no_grad():
        output, _ = ours(nested, nested, nested, need_weights=False)
    assert output.is_nested


@pytest.mark.parametrize(
    ("shapes", "masks", "said"),
    [
        ([(5, 2, 16), (5, 2, 16), (6, 2, 16)], {}, "differ in length or batch"),
        ([(5, 2, 15), (5, 2, 16), (5, 2, 16)], {}, "query must be 16 wide"),
        ([(5, 2, 16), (5, 2, 12), (5, 2, 16)], {}, "key must be 16 wide"),
        ([(5, 16), (5, 2, 16), (5, 2, 16)], {}, "all be 2-D or all 3-D"),
        ([(5, 2, 16)] * 3, {"attn_mask": (4, 5)}, r"attn_mask must be \[5, 5\] or \[8, 5, 5\]"),
        ([(5, 2, 16)] * 3, {"attn_mask": (2, 5, 5)}, "attn_mask must be"),
        ([(5, 2, 16)] * 3, {"key_padding_mask": (5, 2)}, r"key_padding_mask must be \[2, 5\]"),
        ([(5, 16)] * 3, {"key_padding_mask": (1, 5)}, r"key_padding_mask must be \[5\]"),
    ],
)
def test_shapes_that_do_not_fit(shapes, masks, said):
    ours = MultiheadAttention(16, 4)
    given = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in masks.items()}
    with pytest.raises((AssertionError, RuntimeError), match=said):
        ours(*(torch.randn(shape) for shape in shapes), **given)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_gradient_for_each_example(need_weights):
    """`torch.func` maps over the module."""
    ours = MultiheadAttention(16, 2, batch_first=True)
    theirs = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    parameters = {name: p.detach() for name, p in ours.named_parameters()}
    examples = torch.randn(3, 1, 5, 16)

    def gradient(module):
        def loss(parameters, x):
            options = {"need_weights": need_weights}
            output, _ = torch.func.functional_call(module, parameters, (x, x, x), options)
            return output.square().mean()

        return torch.func.grad(loss)

    found = torch.func.vmap(gradient(ours), in_dims=(None, 0))(parameters, examples)
    for i, example in enumerate(examples):  # torch's own warns that it is mapped over slowly
        for name, wanted in gradient(theirs)(parameters, example).items():
            torch.testing.assert_close(found[name][i], wanted)
