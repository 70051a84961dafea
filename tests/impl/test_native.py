"""The kernels: what they must be able to do, how exactly, and what they hand to careful panels."""

import contextlib
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import _draw
import _isa_grid
import _oracle
import eyeline
from eyeline import masks
from eyeline.biases import Alibi, Diagonals, RelativeBias, TensorBias, alibi_slopes
from eyeline.impl import _native_rules, _native_run, choose, native
from eyeline.impl._native_library import Library
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Pooling, Wants

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
EVERYTHING = Wants(64, True, True, Pooling(3, 5, "mean"), True)
IDS = torch.tensor([0, 0, 1, 1, 1, 2])
MASKS = {
    "none": None,
    "causal": masks.causal(),
    "sliding_window": masks.sliding_window(2),
    "prefix": masks.prefix(3),
    "padding": masks.padding([6, 4]),
    "keys": masks.keys(torch.tensor([True, False] * 3)),
    "documents": masks.documents(IDS, IDS.roll(2)),
    "dense": masks.dense(torch.eye(6, dtype=torch.bool)),
    "predicate": masks.predicate(lambda b, h, i, j: (b + h + i + j) % 2 == 0),
    "and": masks.causal() & masks.padding([6, 4]),
    "or": masks.causal() | masks.prefix(3),
    "not": ~masks.sliding_window((1, 1)),
}
BIASES = [
    (),
    (TensorBias(torch.zeros(6)),),
    (Alibi(alibi_slopes(4)),),
    (RelativeBias(torch.zeros(8, 4)),),
    (Diagonals(torch.zeros(4, 11), 6),),
    (TensorBias(torch.zeros(2, 1, 6, 6)), Alibi(alibi_slopes(4))),
]


def problem(width=4, value_width=4, dtype=torch.float32, **options):
    query, key, value = (
        torch.zeros(2, heads, 6, n, dtype=dtype)
        for heads, n in ((4, width), (2, width), (2, value_width))
    )
    return Problem(query, key, value, scale=0.5, **options)


def test_there_is_a_mask_of_every_kind():
    assert set(masks.__all__) - {"Mask"} <= set(MASKS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_every_mask_bias_softcap_and_sinks_can_be_done_and_auto_does_them(dtype, mask):
    extras = itertools.product(BIASES, (None, 3.0), (None, torch.zeros(4)))
    for biases, softcap, sinks in extras:
        options = {"biases": biases, "softcap": softcap, "sinks": sinks}
        one = problem(dtype=dtype, mask=MASKS[mask], **options)
        for wants in (None, EVERYTHING):
            assert native.unsupported(one, wants) is None
            assert choose("auto", one, wants) is native


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [0, 1, 3, 64, 111, 128, 255, 256])
@pytest.mark.parametrize("value_width", [0, 1, 5, 256])
def test_heads_may_be_up_to_256_wide(dtype, width, value_width):
    one = problem(width, value_width, dtype)
    assert native.unsupported(one, EVERYTHING) is None
    output, _ = native.attend(one)
    assert output.shape == (2, 4, 6, value_width) and (output == 0).all()


@pytest.mark.parametrize("p", [0.1, 1.0])
def test_weights_can_be_dropped(p):
    assert native.unsupported(problem(dropout_p=p, dropout_seed=3)) is None


@pytest.mark.parametrize(
    ("one", "wants", "message"),
    [
        (problem(dtype=torch.float64), None, "float32, bfloat16 and float16, not torch.float64"),
        (problem(257), None, "heads are 257 wide, the kernels go up to 256"),
        (problem(4, 257), None, "go up to 256"),
        (problem(), Wants(top_k=65), "up to 64 largest weights, not 65"),
    ],
    ids=["dtype", "head", "value", "top_k"],
)
def test_what_cannot_be_done_is_said_and_left_to_another(one, wants, message):
    assert message in native.unsupported(one, wants)
    assert choose("auto", one, wants) is eyeline.impl.tiled
    with pytest.raises(ValueError, match=f"'native' cannot do this: .*{message}; use impl='auto'"):
        choose("native", one, wants)


def test_another_device_is_left_to_another():
    one = problem()
    meta = one.with_tensors(tuple(t.to("meta") for t in one.differentiable))
    assert native.unsupported(meta) == "the kernels run on the CPU, the tensors are on meta"


def test_a_mask_too_large_to_write_out_is_refused_by_name_and_done_by_auto(monkeypatch):
    monkeypatch.setattr(_native_rules, "WRITTEN_CELLS", 143)
    q = torch.randn(2, 2, 6, 8)
    mask = MASKS["predicate"]
    with pytest.raises(ValueError, match=r"predicate.*no interval.*too large to write out"):
        eyeline.attention(q, q, q, mask, impl="native")
    expected = eyeline.attention(q, q, q, mask, impl="reference")
    torch.testing.assert_close(eyeline.attention(q, q, q, mask), expected)
    monkeypatch.setattr(_native_rules, "WRITTEN_CELLS", 144)
    torch.testing.assert_close(eyeline.attention(q, q, q, mask, impl="native"), expected)


LENGTHS = st.sampled_from([1, 2, 5, 9, 17, 63, 64, 65, 70, 130])
"""Around the blocks of 64 keys and the lanes that queries run in."""

TOLERANCE = {
    torch.float32: {"atol": 5e-6, "rtol": 5e-6},
    torch.bfloat16: {"atol": 2e-2, "rtol": 1e-2},
    torch.float16: {"atol": 2e-3, "rtol": 2e-3},
}


def same_keys(found, exact, k):
    """The keys of a top-k are live, distinct and as good as the best; as many as there are."""
    values, indices = _oracle.top_k(exact.weights, exact.live, k)
    assert torch.equal(found.indices == -1, indices == -1)
    there = indices != -1
    chosen = exact.weights.gather(-1, found.indices.clamp(min=0)).where(there, 0)
    torch.testing.assert_close(chosen, values, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.values.double(), values, atol=1e-6, rtol=1e-5)
    live = exact.live.gather(-1, found.indices.clamp(min=0))
    assert live[there].all()
    order = found.indices.masked_fill(~there, -1).sort(-1).values
    assert ((order.diff(dim=-1) > 0) | (order[..., 1:] == -1)).all()


@_draw.cases(200)
@given(
    _draw.problems(torch.float32, LENGTHS),
    st.sampled_from([1, 2, 5, 64]),
    st.tuples(*[st.sampled_from([1, 2, 7, 64])] * 2),
    st.sampled_from(["sum", "max", "mean"]),
)
def test_drawn_problems_equal_the_judge(drawn, k, cells, reduce):
    exact = drawn.solve()
    measure = eyeline.Measure(k, True, True, cells, reduce)
    tensors, options = drawn.tensors[:3], drawn.options | {"impl": "native"}
    output = eyeline.attention(*tensors, **options)
    same, seen = eyeline.observe(*tensors, **options, measure=measure)
    stats = seen.take(measure)
    expected = {
        "output": exact.output,
        "logsumexp": exact.logsumexp,
        "entropy": _oracle.entropy(exact.weights),
        "received": _oracle.received(exact.weights),
        "pooled": _oracle.pooled(exact.weights, *cells, reduce),
    }
    found = {"output": output} | {n: getattr(stats, n) for n in list(expected)[1:]}
    for name, truth in expected.items():
        torch.testing.assert_close(
            found[name].double(),
            truth,
            atol=1e-5,
            rtol=1e-5,
            msg=lambda m, name=name: f"{name}: {m}",
        )
    torch.testing.assert_close(same, output, atol=2e-6, rtol=2e-6)
    same_keys(stats.top_k, exact, k)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@_draw.cases(60)
@given(data=st.data())
def test_drawn_problems_in_half_precision_equal_the_judge(dtype, data):
    drawn = data.draw(_draw.problems(dtype, LENGTHS))
    output = eyeline.attention(*drawn.tensors[:3], **drawn.options, impl="native")
    torch.testing.assert_close(output.double(), drawn.solve().output, **TOLERANCE[dtype])


def test_weights_have_all_their_digits():
    _isa_grid.check_digits()


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("lengths", [(1, 300), (5, 3), (70, 130)])
def test_the_weights_that_are_dropped_and_their_gradients_are_the_references(p, is_causal, lengths):
    tensors = [
        torch.randn(2, heads, n, 8)
        for heads, n in zip((4, 2, 2), (*lengths, lengths[1]), strict=True)
    ]
    leaves = [t.requires_grad_() for t in tensors]
    results = []
    for impl in ("native", "reference"):
        torch.manual_seed(7)
        options = {"dropout_p": p, "is_causal": is_causal, "enable_gqa": True, "impl": impl}
        output = eyeline.attention(*leaves, **options)
        results.append([output, *torch.autograd.grad(output.sin().sum(), leaves)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("k", [1, 3, 16, 64])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("lengths", [(1, 300), (40, 300), (130, 130), (7, 3)])
def test_equal_weights_are_listed_by_their_index(k, is_causal, lengths):
    """Scores are small integers, exact in any order of adding, and many of them are equal."""
    q_len, kv_len = lengths
    query = torch.ones(1, 2, q_len, 1)
    scores = torch.randint(0, 5, (1, 2, kv_len), generator=torch.Generator().manual_seed(k))
    key = scores[..., None].float()
    _, seen = eyeline.observe(query, key, key, scale=1.0, is_causal=is_causal, impl="native")
    live = torch.ones(1, 2, q_len, kv_len, dtype=torch.bool)
    if is_causal:
        live = live.tril()
    rows = scores[:, :, None].expand(live.shape).double()
    _, expected = _oracle.top_k(rows, live, k)
    assert torch.equal(seen.top_k(k).indices, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 700, 32), (3, 4, 65, 64), (1, 8, 1, 128)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_same_input_gives_the_same_bits(dtype, shape, threads):
    q, k, v = (torch.randn(shape).to(dtype) for _ in range(3))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first = measured(q, k, v)
        for _ in range(5):
            for name, tensor in measured(q, k, v).items():
                assert torch.equal(tensor, first[name]), name
    finally:
        torch.set_num_threads(before)


def measured(q, k, v, **options):
    """Everything the kernels can say about a call, by name."""
    measure = eyeline.Measure(5, True, True, (7, 9), "sum")
    output, seen = eyeline.observe(q, k, v, **options, impl="native", measure=measure)
    stats = seen.take(measure)
    found = {"measured_output": output, "output": eyeline.attention(q, k, v, **options)}
    found |= {"values": stats.top_k.values, "indices": stats.top_k.indices}
    names = ("entropy", "received", "pooled", "logsumexp")
    return found | {name: getattr(stats, name) for name in names}


@contextlib.contextmanager
def addresses():
    """The addresses of query, key and value in each call that the kernels got."""
    seen = []
    attend = Library.attend

    def spied(self, call):
        seen.append((call.query, call.key, call.value))
        return attend(self, call)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Library, "attend", spied)
        yield seen


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["BNHD", "sliced", "expanded", "reversed heads"])
def test_strided_inputs_are_read_where_they_are(dtype, kind):
    if kind == "BNHD":
        tensors = [torch.randn(2, 9, 4, 8).to(dtype).transpose(1, 2) for _ in range(3)]
    elif kind == "sliced":
        tensors = [torch.randn(2, 4, 20, 30).to(dtype)[:, :, 3:12, 7:15] for _ in range(3)]
    elif kind == "expanded":
        tensors = [torch.randn(1, 1, 9, 8).to(dtype).expand(2, 4, 9, 8) for _ in range(3)]
    else:
        tensors = [torch.randn(2, 9, 32).to(dtype).unflatten(-1, (4, 8)).movedim(2, 1)] * 3
    with addresses() as seen:
        found = measured(*tensors, softcap=9.0)
    assert seen and set(seen) == {tuple(t.data_ptr() for t in tensors)}
    copies = [t.contiguous() for t in tensors]
    for name, tensor in measured(*copies, softcap=9.0).items():
        assert torch.equal(found[name], tensor), name


def test_only_a_spread_last_dimension_is_copied():
    q = torch.randn(1, 2, 8, 9).transpose(2, 3)
    k = torch.randn(1, 2, 7, 8)
    with addresses() as seen:
        found = eyeline.attention(q, k, k, softcap=9.0, impl="native")
    ((query, key, value),) = seen
    assert query != q.data_ptr() and key == value == k.data_ptr()
    assert torch.equal(found, eyeline.attention(q.contiguous(), k, k, softcap=9.0, impl="native"))


def test_inputs_are_untouched():
    tensors = [torch.randn(2, 4, 70, 8) for _ in range(3)]
    allowed, bias = torch.rand(70, 70) < 0.7, torch.randn(4, 70, 70)
    sinks = torch.randn(4)
    held = [*tensors, allowed, bias, sinks]
    copies, versions = [t.clone() for t in held], [t._version for t in held]
    measured(*tensors, attn_mask=allowed, bias=bias, sinks=sinks, softcap=3.0)
    tensors[1][0, 0, 3, 0] = torch.nan
    copies[1][0, 0, 3, 0], versions[1] = torch.nan, tensors[1]._version
    measured(*tensors, attn_mask=allowed, bias=bias, sinks=sinks, softcap=3.0)
    for tensor, copy, version in zip(held, copies, versions, strict=True):
        assert torch.equal(tensor.nan_to_num(7), copy.nan_to_num(7)) and tensor._version == version


@pytest.fixture
def careful_calls(monkeypatch):
    calls = []
    careful = _native_run.careful_measure

    def counted(*args):
        calls.append(1)
        return careful(*args)

    monkeypatch.setattr(_native_run, "careful_measure", counted)
    return calls


SPECIAL = {
    "nan": torch.nan,
    "inf": torch.inf,
    "-inf": -torch.inf,
    "overflow": 3e38,
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("site", ["query", "key", "value"])
@pytest.mark.parametrize("causal", [False, True])
def test_special_values_take_the_careful_path_and_equal_the_reference(
    careful_calls, name, site, causal
):
    tensors = dict(zip(("query", "key", "value"), torch.randn(3, 2, 4, 70, 8), strict=True))
    tensors["key"][:, :, :, 2] = 8.0
    tensors[site][0, 1, 33, 2] = SPECIAL[name]
    tensors["value"][1, 2, :3] = SPECIAL[name]
    options = tensors | {"is_causal": causal}
    measure = eyeline.Measure(1, True, True, (7, 9), "max")
    found = eyeline.observe(**options, impl="native", measure=measure)
    assert careful_calls
    wanted = eyeline.observe(**options, impl="reference", measure=measure)
    ours, theirs = ([o, *m.take(measure).top_k] for o, m in (found, wanted))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)
    for statistic in ("entropy", "received", "pooled", "logsumexp"):
        ours, theirs = (getattr(m.take(measure), statistic) for _, m in (found, wanted))
        torch.testing.assert_close(ours, theirs, equal_nan=True)
    alone = eyeline.attention(**options, impl="native")
    torch.testing.assert_close(alone, wanted[0], equal_nan=True)


@pytest.mark.parametrize("length", [5, 70])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("is_causal", [False, True])
def test_rows_whose_live_scores_all_overflow_are_heard_of(careful_calls, dense, is_causal, length):
    query = torch.full((1, 2, length, 16), 1e30)
    options = {"query": query, "key": -query, "value": torch.ones(1, 2, length, 16)}
    options |= {"is_causal": is_causal, "attn_mask": torch.eye(length) > 0 if dense else None}
    output = eyeline.attention(**options, impl="native")
    assert careful_calls
    wanted = eyeline.attention(**options, impl="reference")
    assert wanted.isnan().all()
    torch.testing.assert_close(output, wanted, equal_nan=True)


def test_ordinary_numbers_take_no_careful_path(careful_calls):
    q, k, v = torch.randn(3, 2, 4, 70, 8) * 1e4
    measured(q, k, v, is_causal=True)
    measured(q, k, v, attn_mask=torch.zeros(70, 70).masked_fill(torch.eye(70) > 0, -torch.inf))
    some = masks.dense(torch.rand(70, 70) < 0.5)
    measured(q, k, v, attn_mask=masks.causal() & some)
    measured(q, k, v, attn_mask=some, softcap=2.0)
    added = torch.randn(70, 70).masked_fill(torch.eye(70) > 0, -torch.inf)
    measured(q, k, v, attn_mask=added, is_causal=True)
    measured(q, k, v, attn_mask=added, softcap=2.0)
    measured(q, k, v, attn_mask=some, bias=added.nan_to_num(0, 0, 0))
    assert not careful_calls


@pytest.mark.parametrize("q_len, kv_len", [(50, 31), (50, 32), (3, 33), (130, 129), (49, 200)])
@pytest.mark.parametrize("how", ["cells", "rows", "columns", "turned", "one key", "none"])
def test_written_masks_of_every_shape(q_len, kv_len, how):
    """Their bits are read 32 keys at a time, where keys lie side by side."""
    torch.manual_seed(0)
    drawn = {
        "cells": torch.rand(2, 4, q_len, kv_len) < 0.5,
        "rows": (torch.rand(2, 1, q_len, 1) < 0.5).expand(2, 1, q_len, kv_len),
        "columns": torch.rand(2, 1, 1, kv_len) < 0.5,
        "turned": (torch.rand(kv_len, q_len) < 0.5).T,
        "one key": torch.arange(kv_len) == kv_len - 1,
        "none": torch.zeros(q_len, kv_len, dtype=torch.bool),
    }
    q, k, v = torch.randn(2, 4, q_len, 16), *torch.randn(2, 2, 4, kv_len, 16)
    options = {"attn_mask": drawn[how], "softcap": 3.0 if how == "columns" else None}
    ours, theirs = (
        eyeline.observe(q, k, v, **options, impl=impl) for impl in ("native", "reference")
    )
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1].dense(), theirs[1].dense())
    everything = eyeline.Measure(top_k=2, entropy=True, received=True)
    for one, other in zip(
        *(seen.take(everything).top_k for _, seen in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_lengths_of_zero_need_no_kernels():
    for q_len, kv_len in ((0, 5), (5, 0), (0, 0)):
        q, k = torch.randn(2, 4, q_len, 8), torch.randn(2, 4, kv_len, 8)
        found = measured(q, k, k)
        assert found["output"].shape == (2, 4, q_len, 8) and (found["output"] == 0).all()
        assert found["received"].shape == (2, 4, kv_len) and (found["received"] == 0).all()
