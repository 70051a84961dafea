"""Properties over random shapes, masks, biases and options: everybody equals the judge."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import _draw
import _oracle
import _panels
import eyeline
from eyeline import _pyramid
from eyeline._types import Tile, TileKind
from eyeline.impl._top_k import top_k_scores
from eyeline.masks.rules import Band

FLOAT64 = ("reference", "tiled")
"""The implementations that compute in float64; the kernels are judged in tests/impl/test_native."""

REDUCE = st.sampled_from(["sum", "max", "mean"])
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))


@contextmanager
def panels(drawn):
    """Half of the cases run in tiny panels, where online softmax has work to do."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if drawn.tiny:
            _panels.shrink(monkeypatch)
        yield


def close(found, expected, what):
    torch.testing.assert_close(
        found.double(), expected, atol=1e-11, rtol=1e-10, msg=lambda m: f"{what}: {m}"
    )


@_draw.cases(500)
@given(_draw.problems(), st.integers(1, 5), st.tuples(*[st.integers(1, 5)] * 2), REDUCE)
def test_every_implementation_equals_the_judge(drawn, k, cells, reduce):
    exact = drawn.solve()
    for impl in FLOAT64:
        measure = eyeline.Measure(k, True, True, cells, reduce)
        with panels(drawn):
            output = eyeline.attention(*drawn.tensors[:3], **drawn.options, impl=impl)
            same, seen = eyeline.observe(
                *drawn.tensors[:3], **drawn.options, impl=impl, measure=measure
            )
            _, later = eyeline.observe(*drawn.tensors[:3], **drawn.options, impl=impl)
            stats, again = seen.take(measure), later.take(measure)
            dense = seen.dense()
        close(output, exact.output, impl)
        close(same, exact.output, impl)
        close(dense, exact.weights, impl)
        for statistics in (stats, again):
            close(statistics.logsumexp, exact.logsumexp, impl)
            close(statistics.entropy, _oracle.entropy(exact.weights), impl)
            close(statistics.received, exact.weights.sum(-2), impl)
            close(statistics.pooled, _oracle.pooled(exact.weights, *cells, reduce), impl)
            values, indices = _oracle.top_k(exact.weights, exact.live, k)
            close(statistics.top_k.values, values, impl)
            picked = statistics.top_k.indices
            assert torch.equal(picked == -1, indices == -1)
            if exact.weights.shape[-1]:
                there = exact.weights.gather(-1, picked.clamp(min=0)).where(picked >= 0, 0)
                close(there, values, impl)


@_draw.cases(250)
@given(_draw.problems())
def test_gradients_equal_the_judges(drawn):
    *inputs, cotangent = drawn.tensors
    leaves = [t.clone().requires_grad_() for t in inputs]
    wanted = torch.autograd.grad(drawn.solve(*leaves).output, leaves, cotangent)
    for impl in FLOAT64:
        with panels(drawn):
            output = eyeline.attention(*leaves, **drawn.options, impl=impl)
            found = torch.autograd.grad(output, leaves, cotangent)
        for name, ours, theirs in zip(("q", "k", "v"), found, wanted, strict=True):
            close(ours, theirs, f"{impl} grad of {name}")


@_draw.cases(150)
@given(_draw.problems(length=st.integers(1, 9)), st.sampled_from([0.1, 0.5, 0.9]), _draw.seeds)
def test_dropout_drops_the_same_weights_everywhere(drawn, dropout_p, seed):
    """With the identity as value the output *is* the weights after dropout."""
    q, k, _, _ = drawn.tensors
    eye = torch.eye(k.shape[2], dtype=q.dtype).expand(*k.shape[:2], -1, -1)
    exact = drawn.solve(q, k, eye)
    dropped = []
    for impl in FLOAT64:
        torch.manual_seed(seed)
        with panels(drawn):
            dropped.append(
                eyeline.attention(q, k, eye, **drawn.options, dropout_p=dropout_p, impl=impl)
            )
        keep = dropped[-1] != 0
        close(dropped[-1], exact.weights * keep / (1 - dropout_p), impl)
        torch.manual_seed(seed)
        with panels(drawn):
            same, seen = eyeline.observe(
                *(q, k, eye),
                **drawn.options,
                dropout_p=dropout_p,
                impl=impl,
                measure=eyeline.Measure(entropy=True),
            )
        close(same, dropped[0], f"{impl} measured")
        close(seen.dense(), exact.weights, "a map shows the weights before dropout")
    assert all(torch.equal(dropped[0] != 0, other != 0) for other in dropped)


@st.composite
def masks_and_tiles(draw):
    shape = draw(SHAPES)
    mask, rule = draw(_draw.masks_and_rules(shape))
    spans = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        spans.append(slice(start, draw(st.integers(start + 1, size))))
    return shape, mask, rule, Tile(*spans)


@_draw.cases(600)
@given(masks_and_tiles())
def test_a_mask_tells_the_truth_about_every_tile(drawn):
    shape, mask, rule, tile = drawn
    truth = _oracle.written_out(rule, shape)[tile]
    mask.check(*shape)
    assert torch.equal(mask.tile(tile).expand(tile.shape), truth), str(mask)
    kind = mask.kind(tile)
    if kind is TileKind.EMPTY:
        assert not truth.any(), str(mask)
    elif kind is TileKind.FULL:
        assert truth.all(), str(mask)
    elif isinstance(mask, Band):  # the rule that makes long texts cheap is never unsure
        assert truth.any() and not truth.all(), str(mask)
    part = mask.part(tile.batch, tile.heads)
    whole = Tile(slice(0, tile.shape[0]), slice(0, tile.shape[1]), tile.rows, tile.cols)
    assert torch.equal(part.tile(whole).expand(tile.shape), truth), str(part)
    if part.kind(whole) is not TileKind.PARTIAL:
        assert bool(truth.any()) == (part.kind(whole) is TileKind.FULL), str(part)


@st.composite
def indices(draw, shape):
    found, lists = [], draw(st.integers(1, 3))
    for size in shape:
        kinds = ["int", "slice", "step"] + ["list", "tensor"] * (size > 0)
        kind = draw(st.sampled_from(kinds if size else ["slice"]))
        match kind:
            case "int":
                found.append(draw(st.integers(-size, size - 1)))
            case "slice":
                found.append(slice(draw(st.none() | st.integers(-size, size)), None))
            case "step":
                found.append(slice(None, draw(st.integers(0, size)), draw(st.integers(1, 3))))
            case _:
                pick = [draw(st.integers(-size, size - 1)) for _ in range(lists)]
                found.append(torch.tensor(pick) if kind == "tensor" else pick)
    cut = draw(st.integers(1, 4))
    return (*found[:cut], ...) if draw(st.booleans()) else tuple(found[:cut])


@_draw.cases(250)
@given(st.data(), _draw.problems())
def test_indexing_equals_indexing_the_dense_weights(data, drawn):
    _, seen = eyeline.observe(*drawn.tensors[:3], **drawn.options)
    index = data.draw(indices(drawn.shape))
    expected = drawn.solve().weights[index]
    with panels(drawn):
        found = seen[index]
    assert found.shape == expected.shape
    close(found, expected, index)


@_draw.cases(150)
@given(st.data(), _draw.problems(length=st.integers(1, 14)), REDUCE)
def test_tiles_and_selections_equal_the_dense_weights(data, drawn, reduce):
    _, seen = eyeline.observe(*drawn.tensors[:3], **drawn.options)
    exact = drawn.solve().weights
    level = data.draw(st.integers(0, 3))
    side = 4 * 2**level
    i, j = (data.draw(st.integers(0, (n - 1) // side)) for n in drawn.shape[2:])
    under = exact[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
    with panels(drawn), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(_pyramid, "TILE_SIZE", 4)
        tile = seen.tile(level, i, j, reduce=reduce)
    close(tile, _by_pixels(under, 2**level, reduce), "tile")
    b, h = (data.draw(st.integers(-n, n - 1)) for n in drawn.shape[:2])
    one = seen.select(batch=b, head=h)
    with panels(drawn):
        close(one.dense()[0, 0], exact[b, h], "select")
        close(one.received()[0, 0], exact[b, h].sum(0), "select")


def _by_pixels(weights, size, reduce):
    reducer = {"sum": torch.sum, "max": torch.amax, "mean": torch.mean}[reduce]
    rows = weights.split(size, 2)
    return torch.cat(
        [
            torch.stack([reducer(cell, (2, 3)) for cell in row.split(size, 3)], -1)[:, :, None]
            for row in rows
        ],
        2,
    )


@_draw.cases(120)
@given(_draw.problems())
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, drawn):
    _, seen = eyeline.observe(*drawn.tensors[:3], **drawn.options)
    path = tmp_path_factory.mktemp("maps") / "map.safetensors"
    seen.save(path)
    loaded = eyeline.AttentionMap.load(path)
    assert torch.equal(loaded.dense(), seen.dense())
    assert torch.equal(loaded.logsumexp, seen.logsumexp)
    assert torch.equal(loaded.received(), seen.received())
    assert loaded.problem.scale == seen.problem.scale


@_draw.cases(300)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 2500)),
    st.integers(1, 40),
    st.sampled_from([1, 2, 5, 50, 10**6]),
    _draw.seeds,
    st.booleans(),
)
def test_top_k_equals_a_stable_sort_however_many_ties(shape, k, levels, seed, masked):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.integers(0, levels, shape)).float()
    if masked:
        scores[torch.from_numpy(rng.random(shape) < rng.random())] = -torch.inf
    before = scores.clone()
    values, found = top_k_scores(scores, k)
    assert torch.equal(scores, before)
    for row in range(shape[0]):
        numbers = scores[row].tolist()
        best = sorted(range(shape[1]), key=lambda j: -numbers[j])[:k]
        assert values[row].tolist() == [numbers[j] for j in best]
        live = [j for j in best if numbers[j] > -np.inf]
        assert found[row].tolist()[: len(live)] == live
