"""Biases: values against loops and transformers' T5, gradients, the errors."""

import resource

import pytest
import torch

import _oracle
import eyeline
from eyeline._types import Tile
from eyeline.biases import (
    Alibi,
    Diagonals,
    RelativeBias,
    TensorBias,
    alibi_slopes,
    relative_bucket,
)

WHOLE = Tile.whole(1, 3, 9, 12)
PART = Tile(slice(0, 1), slice(1, 3), slice(2, 7), slice(5, 12))


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (8, 20), (16, 1000)])
def test_buckets_equal_transformers_t5(bidirectional, num_buckets, max_distance):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-3 * max_distance, 3 * max_distance + 1)
    how = {"num_buckets": num_buckets, "max_distance": max_distance}
    theirs = T5Attention._relative_position_bucket(distance, bidirectional=bidirectional, **how)
    ours = relative_bucket(distance, bidirectional=bidirectional, **how)
    assert torch.equal(ours, theirs)
    near = range(-max_distance, max_distance)
    alone = [_oracle.t5_bucket(n, bidirectional=bidirectional, **how) for n in near]
    assert ours[2 * max_distance : 4 * max_distance].tolist() == alone


def test_alibi_slopes_are_the_papers():
    assert alibi_slopes(8).tolist() == [2.0**-n for n in range(1, 9)]
    assert alibi_slopes(1).tolist() == [2.0**-8]
    twelve = alibi_slopes(12)  # 8, then every second of 16
    assert twelve[:8].tolist() == alibi_slopes(8).tolist()
    assert torch.equal(twelve[8:], alibi_slopes(16)[::2][:4])
    with pytest.raises(ValueError, match="num_heads must be at least 1"):
        alibi_slopes(0)


def biases_with_truth(offset=3):
    slopes, table = torch.rand(3).double(), torch.randn(8, 3).double()
    values, diagonals = torch.randn(3, 1, 12).double(), torch.randn(3, 9 + 12 - 1).double()
    shape = WHOLE.shape
    i, j = torch.arange(9)[:, None], torch.arange(12)
    how = {"bidirectional": True, "max_distance": 10, "offset": offset}
    left = how | {"bidirectional": False}
    return [
        (Alibi(slopes, offset), _oracle.alibi(slopes, shape, offset)),
        (RelativeBias(table, **how), _oracle.relative(table, shape, **how)),
        (RelativeBias(table, **left), _oracle.relative(table, shape, **left)),
        (TensorBias(values), values.expand(shape)),
        (Diagonals(diagonals, 9), diagonals[:, j - i + 8][None]),
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("offset", [0, 3, -2])
def test_every_tile_equals_the_written_out_matrix(number, offset):
    bias, truth = biases_with_truth(offset)[number]
    for tile in (WHOLE, PART):
        torch.testing.assert_close(bias.tile(tile).expand(tile.shape), truth[tile])
    part = bias.part(slice(0, 1), slice(1, 3))
    tile = PART._replace(heads=slice(0, 2))
    torch.testing.assert_close(part.tile(tile).expand(tile.shape), truth[PART])
    doubled = bias.replace(bias.parameter * 2)
    torch.testing.assert_close(doubled.tile(PART).expand(PART.shape), 2 * truth[PART])


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 3, -2])
@pytest.mark.parametrize("lengths", [(9, 12), (9, 1), (1, 12), (1, 1)])
def test_diagonals_are_the_matrix_read_along_its_edge(number, offset, lengths):
    bias, truth = biases_with_truth(offset)[number]
    matrix = truth[0, :, : lengths[0], : lengths[1]]
    edge = torch.cat([matrix[:, :, 0].flip(-1), matrix[:, 0, 1:]], -1)
    torch.testing.assert_close(bias.diagonals(*lengths), edge)
    again = Diagonals(edge, lengths[0]).tile(Tile.whole(1, 3, *lengths))
    torch.testing.assert_close(again[0], matrix)
    assert bias.diagonals(0, 0).shape == (3, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_slopes_in_half_precision_are_multiplied_in_float32(dtype):
    slopes, far = torch.tensor([0.7, 0.01]).to(dtype), Tile.whole(1, 2, 3, 1001)
    exact = _oracle.alibi(slopes, far.shape)
    torch.testing.assert_close(Alibi(slopes).tile(far).double(), exact, atol=1e-4, rtol=1e-6)
    edge = Alibi(slopes).diagonals(1, 1001).double()
    torch.testing.assert_close(edge, exact[0, :, 0], atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("number", range(5))
def test_collect_is_the_gradient_of_tile(number):
    bias, _ = biases_with_truth()[number]
    leaf = bias.parameter.clone().requires_grad_()
    upstream = torch.randn(2, *PART.shape[1:]).double()
    tile = PART._replace(batch=slice(0, 2))
    (bias.replace(leaf).tile(tile).expand(upstream.shape) * upstream).sum().backward()
    gradient = torch.zeros_like(leaf)
    bias.collect(gradient, upstream, tile)
    torch.testing.assert_close(gradient, leaf.grad)
    bias.collect(gradient, upstream, tile)  # it adds
    torch.testing.assert_close(gradient, 2 * leaf.grad)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.usefixtures("tiny_panels")
def test_gradients_of_the_parameter_in_attention(impl, number):
    bias, _ = biases_with_truth()[number]
    q, k = torch.randn(2, 3, 9, 4).double(), torch.randn(2, 3, 12, 4).double()
    upstream = torch.randn(2, 3, 9, 4).double()
    leaf = bias.parameter.clone().requires_grad_()
    output = eyeline.attention(q, k, k, bias=bias.replace(leaf), is_causal=True, impl=impl)
    (found,) = torch.autograd.grad(output, leaf, upstream)
    dense = bias.replace(leaf).tile(WHOLE).expand(WHOLE.shape)
    allowed = torch.ones(9, 12, dtype=torch.bool).tril().expand(2, 3, 9, 12)
    exact = _oracle.solve(q, k, k, allowed=allowed, bias=dense)
    (wanted,) = torch.autograd.grad(exact.output, leaf, upstream)
    torch.testing.assert_close(found, wanted)


def test_the_gradient_of_a_table_needs_no_matrix():
    """4,096 × 4,096 scores would be 64 MB in float32; the table has 64 numbers."""
    q = torch.randn(1, 2, 4096, 8, requires_grad=True)
    table = torch.randn(32, 2, requires_grad=True)
    eyeline.attention(q[:, :, :600], q[:, :, :600], q[:, :, :600]).sum().backward()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    output = eyeline.attention(q, q, q, bias=RelativeBias(table), impl="tiled")
    output.sum().backward()
    assert table.grad.shape == table.shape
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 110_000  # kB; panels


@pytest.mark.parametrize("kind", ["Alibi", "RelativeBias"])
@pytest.mark.parametrize("lengths", [(0, 3), (3, 0), (0, 0)])
def test_length_zero(impl, kind, lengths):
    parameter = torch.rand(2) if kind == "Alibi" else torch.rand(8, 2)
    q, k = torch.randn(1, 2, lengths[0], 4), torch.randn(1, 2, lengths[1], 4)
    bias = getattr(eyeline.biases, kind)(parameter)
    assert eyeline.attention(q, k, k, bias=bias, impl=impl).shape == q.shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorBias(torch.ones(2, 2, dtype=torch.int64)), "floating-point tensor"),
        (lambda: TensorBias(torch.ones(1, 1, 1, 2, 2)), "at most 4 dimensions"),
        (lambda: Alibi(torch.ones(2, 2)), "one slope per head"),
        (lambda: Alibi(torch.ones(2, dtype=torch.int64)), "one slope per head"),
        (lambda: RelativeBias(torch.ones(8)), "num_buckets, num_heads"),
        (lambda: RelativeBias(torch.ones(3, 2)), "at least 4 buckets, got 3"),
        (lambda: RelativeBias(torch.ones(32, 2), max_distance=8), "max_distance must exceed the 8"),
        (lambda: Alibi(torch.ones(4)).check(1, 2, 3, 3), "4 slopes, attention 2 heads"),
        (lambda: RelativeBias(torch.ones(8, 4)).check(1, 2, 3, 3), "4 heads, the attention 2"),
        (lambda: TensorBias(torch.ones(4, 3)).check(1, 2, 3, 3), "does not broadcast"),
        (lambda: Diagonals(torch.ones(2, 5), 3).check(1, 2, 3, 4), r"\[2, 5\] should be \[2, 6\]"),
        (lambda: Diagonals(torch.ones(2, 6), 4).check(1, 2, 3, 4), "diagonals"),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_biases_introduce_themselves():
    shown = [str(bias) for bias, _ in biases_with_truth()]
    assert shown == [
        "Alibi(3 heads)",
        "RelativeBias(8 buckets)",
        "RelativeBias(8 buckets)",
        "bias([1, 3, 1, 12])",
        "diagonals([3, 20])",
    ]
