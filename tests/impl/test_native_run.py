"""One run of the kernels: room for what is wanted, and the careful answer where it is needed."""

from dataclasses import replace

import pytest
import torch

from eyeline import masks
from eyeline.biases import TensorBias
from eyeline.impl import native, reference
from eyeline.impl._native_library import Call
from eyeline.impl._native_operands import Operands
from eyeline.impl._native_run import describe, run, strides
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Pooling, Wants

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

EVERYTHING = Wants(3, True, True, Pooling(4, 8, "mean"), True)


def problem(q_len=19, kv_len=29, **options):
    query, key, value = (torch.randn(2, 2, n, 8) for n in (q_len, kv_len, kv_len))
    return Problem(query, key, value, scale=0.4, **options)


def ran(one: Problem, wants: Wants = EVERYTHING):
    return run(Operands.of(one), wants)


def fields(statistics) -> dict[str, torch.Tensor]:
    """All that was found, by name."""
    found = {
        name: getattr(statistics, name) for name in ("output", "entropy", "received", "pooled")
    }
    found |= statistics.normalizer._asdict()
    if statistics.top_k is not None:
        found |= statistics.top_k._asdict()
    return {name: tensor for name, tensor in found.items() if tensor is not None}


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_everything_that_is_wanted_is_found(reduce):
    one = problem(mask=masks.causal(4))
    wants = replace(EVERYTHING, pooled=Pooling(4, 8, reduce))
    expected = fields(reference.measure(one, wants))
    found = fields(ran(one, wants))
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize(
    ("wants", "names"),
    [
        (Wants(output=True), ["output"]),
        (Wants(top_k=2), ["values", "indices"]),
        (Wants(entropy=True), ["entropy"]),
        (Wants(received=True), ["received"]),
        (Wants(pooled=Pooling(4, 4, "max")), ["pooled"]),
    ],
    ids=str,
)
def test_what_is_not_wanted_is_not_made(wants, names):
    wants = replace(wants, output="output" in names)
    assert fields(ran(problem(), wants)).keys() == {"maximum", "total", *names}


def test_there_are_no_more_largest_weights_than_keys():
    assert ran(problem(kv_len=2)).top_k.values.shape == (2, 2, 19, 2)


@pytest.mark.parametrize("sizes", [{"q_len": 0}, {"kv_len": 0}], ids=str)
def test_lengths_of_zero_have_the_references_shapes(sizes):
    one = problem(**sizes)
    expected = fields(reference.measure(one, EVERYTHING))
    for name, tensor in fields(ran(one)).items():
        torch.testing.assert_close(tensor, expected[name], equal_nan=True)


@pytest.mark.parametrize("site", ["key", "value"])
def test_a_special_value_leaves_the_kernels_bits_where_it_is_not_seen(site):
    one = problem(mask=masks.causal())
    before = fields(ran(one))
    getattr(one, site)[1, 0, 12, 3] = torch.nan
    after = fields(ran(one))
    assert after["output"][1, 0, 12:].isnan().any()
    for name in ("output", "entropy", "values", "indices", "maximum", "total"):
        for rows in ((0,), (1, 1), (1, 0, slice(12))):
            assert torch.equal(after[name][rows], before[name][rows]), name
    for name in ("entropy", "maximum", "total"):
        assert after[name][1, 0, 12:].isnan().all(), name
    cell = 12 * EVERYTHING.pooled.rows // 19  # the first that holds such a row
    assert after["pooled"][1, 0, cell, 0].isnan()
    assert torch.equal(after["pooled"][1, 0, :cell], before["pooled"][1, 0, :cell])


def test_a_value_that_no_output_mixes_spoils_no_statistic():
    one, blind = problem(), replace(EVERYTHING, output=False)
    before = fields(ran(one, blind))
    one.value[1, 0, 12, 3] = torch.nan
    after = fields(ran(one, blind))
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_bias_and_a_sink_that_were_not_checked_yet_are_checked(number):
    bias, sinks = torch.zeros(19, 29), torch.zeros(2)
    bias[3, 4] = sinks[1] = number
    with pytest.raises(ValueError, match="bias"):
        ran(problem(biases=(TensorBias(bias),)))
    with pytest.raises(ValueError, match="sinks"):
        ran(problem(sinks=sinks))


def test_only_a_last_dimension_that_is_spread_is_copied():
    one = problem()
    spread = one.key.repeat_interleave(2, -1)[..., ::2]
    call = Call()
    operands = Operands.of(one.with_tensors((one.query, spread, one.value)))
    alive = describe(call, operands)
    assert call.query == one.query.data_ptr()
    assert call.key != spread.data_ptr()
    assert call.key in [tensor.data_ptr() for tensor in alive]


def test_a_dimension_of_one_has_no_stride():
    assert strides(torch.zeros(3, 1, 5).expand(3, 1, 5)) == (5, 0, 1)
    assert strides(torch.zeros(3, 4)[:, :1]) == (4, 0)
