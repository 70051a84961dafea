"""The rules that go to the kernels say what the masks and biases say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import _draw
from eyeline import masks
from eyeline._types import Tile
from eyeline.biases import Alibi, Bias, RelativeBias, TensorBias
from eyeline.impl import _native_rules
from eyeline.impl._native_rules import Rules, lower, too_large
from eyeline.impl._problem import Problem

SHAPES = st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 9)] * 2)
SHAPE = (2, 2, 6, 6)
IDS = torch.tensor([0, 0, 1, 1, 1, 2])
ALLOWED = torch.tensor([[1, 0, 1, 1, 0, 1]] * 6).bool() | torch.eye(6, dtype=torch.bool)


def problem(mask=None, biases=(), shape=SHAPE):
    batch, heads, q_len, kv_len = shape
    query, key = torch.empty(batch, heads, q_len, 4), torch.empty(batch, heads, kv_len, 4)
    return Problem(query, key, key, scale=1.0, mask=mask, biases=tuple(biases))


def seen(rules: Rules, shape):
    """Which cells the rules leave, by the sentences in their docstring."""
    i, j = torch.arange(shape[2])[:, None], torch.arange(shape[3])
    live = torch.ones(shape, dtype=torch.bool)
    if rules.first_offset is not None:
        live &= j >= i + rules.first_offset
    if rules.last_offset is not None:
        live &= j <= i + rules.last_offset
    if rules.limits is not None:
        first, last = rules.limits
        live &= (j >= first[..., None]) & (j < last[..., None])
    return live if rules.written is None else live & rules.written


def added(rules: Rules, shape):
    """What the rules add to each score."""
    i, j = torch.arange(shape[2])[:, None], torch.arange(shape[3])
    total = torch.zeros(shape)
    if rules.bias is not None:
        total = total + rules.bias
    return total if rules.diagonals is None else total + rules.diagonals[:, j - i + shape[2] - 1]


@_draw.cases(400)
@given(st.data(), SHAPES)
def test_the_rules_leave_the_cells_that_the_mask_leaves(data, shape):
    mask, _ = data.draw(_draw.masks_and_rules(shape, depth=3))
    rules = lower(problem(mask, shape=shape))
    assert torch.equal(seen(rules, shape), mask.tile(Tile.whole(*shape)).expand(shape)), str(mask)
    for side in rules.limits or ():
        assert side.dtype == torch.int32 and side.is_contiguous() and side.dim() == 3
    assert (rules.limits is None) or rules.limits[0].shape == rules.limits[1].shape
    assert rules.written is None or rules.written.dtype == torch.bool


@_draw.cases(150)
@given(st.data(), SHAPES)
def test_the_rules_add_what_the_biases_add(data, shape):
    kinds = st.one_of(
        _draw.tensor_biases(shape, torch.float32), _draw.symbolic_biases(shape, torch.float32)
    )
    biases = [b for b, _ in data.draw(st.lists(kinds, max_size=3))]
    biases = [b if isinstance(b, Bias) else TensorBias(b) for b in biases]
    rules = lower(problem(biases=biases, shape=shape))
    expected = sum((b.tile(Tile.whole(*shape)).expand(shape) for b in biases), torch.zeros(shape))
    torch.testing.assert_close(added(rules, shape), expected)
    assert seen(rules, shape).all()
    for given_to_kernels in (rules.bias, rules.diagonals):
        assert given_to_kernels is None or given_to_kernels.dtype == torch.float32


PADDING = masks.padding([4, 6])
GAPS = masks.keys(torch.tensor([True, False] * 3))


@pytest.mark.parametrize(
    ("mask", "used"),
    [
        (None, set()),
        (masks.causal(2), {"last_offset"}),
        (masks.sliding_window(3), {"first_offset", "last_offset"}),
        (masks.sliding_window((3, -1)), {"first_offset"}),
        (masks.sliding_window((-1, -1)), set()),
        (PADDING, {"limits"}),
        (masks.documents(IDS), {"limits"}),
        (masks.documents(IDS) & PADDING, {"limits"}),
        (masks.causal() | masks.prefix(3), {"limits"}),
        (
            masks.causal() & masks.sliding_window(2) & PADDING,
            {"first_offset", "last_offset", "limits"},
        ),
        (masks.causal() & GAPS, {"last_offset", "written"}),
        (masks.dense(ALLOWED), {"written"}),
        (masks.dense(ALLOWED) & GAPS & PADDING, {"written", "limits"}),
        (~masks.sliding_window(2), {"written"}),
    ],
    ids=lambda value: " ".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_as_little_as_possible_is_written_out(mask, used):
    rules = lower(problem(mask))
    assert {name for name, value in vars(rules).items() if value is not None} == used


def test_of_several_bands_the_tightest_sides_count():
    rules = lower(problem(masks.sliding_window((4, 1)) & masks.sliding_window((2, 3), offset=-1)))
    assert (rules.first_offset, rules.last_offset) == (-3, 1)


def test_what_broadcasts_stays_small():
    rules = lower(problem(masks.dense(ALLOWED) & masks.prefix(3), [TensorBias(torch.ones(6))]))
    assert rules.written.shape == (1, 1, 6, 6) and rules.limits[0].shape == (1, 1, 1)
    assert rules.bias.shape == (1, 1, 1, 6)


def test_biases_of_a_kind_are_added_up_before():
    table, slopes = torch.randn(32, 2), torch.rand(2)
    values = torch.randn(6, 6), torch.randn(2, 1, 1)
    biases = [Alibi(slopes), TensorBias(values[0]), RelativeBias(table), TensorBias(values[1])]
    rules = lower(problem(biases=biases))
    torch.testing.assert_close(rules.bias[0], values[0] + values[1])
    expected = biases[0].diagonals(6, 6) + biases[2].diagonals(6, 6)
    torch.testing.assert_close(rules.diagonals, expected)


def test_half_precision_biases_are_added_in_float32():
    large, small = torch.full((6, 6), 256.0).bfloat16(), torch.full((6, 6), 0.5).bfloat16()
    rules = lower(problem(biases=[TensorBias(large), TensorBias(small)]))
    assert (rules.bias == 256.5).all()


def test_a_parameter_takes_its_gradient_through_the_rules():
    table, values = torch.randn(32, 2, requires_grad=True), torch.randn(6, 6, requires_grad=True)
    rules = lower(problem(biases=[RelativeBias(table), TensorBias(values)]))
    (rules.diagonals.sum() + rules.bias.sum()).backward()
    assert torch.equal(values.grad, torch.ones(6, 6)) and table.grad.sum() == 2 * 11


def test_a_bias_of_another_kind_is_refused_by_name():
    Other = type("Other", (Bias,), dict.fromkeys(Bias.__abstractmethods__))
    with pytest.raises(TypeError, match="do not know how to add Other"):
        lower(problem(biases=[Other()]))


@pytest.fixture
def little_room(monkeypatch):
    monkeypatch.setattr(_native_rules, "WRITTEN_CELLS", 72)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (masks.predicate(lambda b, h, i, j: (b + i + j) % 2 == 0), None),
        (masks.predicate(lambda b, h, i, j: (b + h + i + j) % 2 == 0), "predicate(<lambda>)"),
        (~masks.dense(ALLOWED), None),
        (~masks.dense(ALLOWED.expand(2, 2, 6, 6)), "~dense([2, 2, 6, 6])"),
        (masks.dense(ALLOWED.expand(2, 2, 6, 6)), None),
        (masks.causal() & masks.padding([4, 6]), None),
        (masks.causal() & masks.documents(IDS, IDS.roll(1)), None),
        (
            masks.causal() & masks.predicate(lambda b, h, i, j: (b + h + i + j) % 2 == 0),
            "predicate(<lambda>)",
        ),
    ],
    ids=str,
)
def test_a_mask_is_too_large_only_where_it_must_be_written_out(mask, message):
    found = too_large(problem(mask))
    if message is None:
        assert found is None
    else:
        assert found == f"{message} has no interval of keys per row and is too large to write out"


def test_the_limit_counts_cells_without_writing_them():
    n = 2**20
    huge = Problem(*[torch.empty(1, 1, 1, 1).expand(1, 1, n, 1)] * 3, scale=1.0)
    assert too_large(huge) is None
    for mask, fits in [
        (masks.predicate(lambda b, h, i, j: j % 2 == 0), True),
        (masks.predicate(lambda b, h, i, j: (i + j) % 2 == 0), False),
        (masks.keys(torch.arange(n) % 2 == 0) & masks.causal(), True),
        (~masks.sliding_window(2), False),
    ]:
        query = huge.query
        problem = Problem(query, query, query, scale=1.0, mask=mask)
        assert (too_large(problem) is None) == fits, str(mask)
