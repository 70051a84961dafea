"""Everything observed of long rows: maxima that rise late, ties far apart, rows that begin late."""

import pytest
import torch

import eyeline
from eyeline import masks
from eyeline.impl import native

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

QUERIES = 70
"""More than a block, and not a whole number of vectors, for every instruction set."""

COURSES = {  # of the scores along the keys, whole numbers
    "rising": lambda j: j // 300,
    "steep": lambda j: j // 300 * 30,
    "falling": lambda j: -(j // 300 * 30),
    "equal": lambda j: 0 * j,
    "peaks": lambda j: (j % 257 == 255) * 3 + (j % 511 == 510) * 4,
    "late": lambda j: (j >= 1024) * 200 - 100,
}
MASKS = {
    "full": (None, lambda i, j: (i >= 0) & (j >= 0)),
    "causal": (masks.causal(offset=1000), lambda i, j: j <= i + 1000),
    "window": (
        masks.sliding_window((30, 700), offset=400),
        lambda i, j: (i + 400 - j <= 30) & (j - i - 400 <= 700),
    ),
    "halves": (None, lambda i, j: (j >= 2000) == (i % 2 > 0)),
    "holes": (None, lambda i, j: (j // 100 % 3 != 1) & ((i * 7 + j * 5) % 3 > 0)),
}


def scored(course, keys, noise):
    """Tensors whose scores are a course, scale 1; without `noise` exactly that."""
    torch.manual_seed(keys)
    query, key = noise * torch.randn(1, 2, QUERIES, 16), noise * torch.randn(1, 2, keys, 16)
    query[..., 0], key[..., 0] = 1, COURSES[course](torch.arange(keys)).float()
    return query, key, torch.randn(1, 2, keys, 80)


def cells(weights, rows, columns, reduce):
    """The picture, by its definition: index * cells // length is the cell of an index."""
    queries, keys = weights.shape[-2:]
    row, column = torch.arange(queries) * rows // queries, torch.arange(keys) * columns // keys
    index = (row[:, None] * columns + column).flatten().expand(*weights.shape[:-2], -1)
    picture = weights.new_zeros(*weights.shape[:-2], rows * columns)
    picture.scatter_reduce_(-1, index, weights.flatten(-2), reduce)
    return picture.unflatten(-1, (rows, columns))


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("keys", [511, 512, 513, 1100, 1600, 4500])
def test_every_statistic_equals_float64(answers, keys, course, kind):
    mask, rule = MASKS[kind]
    allowed = rule(torch.arange(QUERIES)[:, None], torch.arange(keys))
    if mask is None and not allowed.all():
        mask = masks.dense(allowed)
    tensors = scored(course, keys, 0.3)
    query, key, value = (t.double() for t in tensors)
    scores = (query @ key.mT).masked_fill(~allowed, -torch.inf)
    weights = scores.softmax(-1).masked_fill(~allowed.any(-1, keepdim=True), 0)
    pictures = {"sum": ((9, 7), "sum"), "max": ((20, 256), "amax")}
    for reduce, (size, how) in pictures.items():
        measure = eyeline.Measure(
            top_k=9, entropy=True, received=reduce == "sum", pooled=size, reduce=reduce
        )
        output, seen = eyeline.observe(*tensors, mask, scale=1.0, impl="native", measure=measure)
        found = {
            "output": (output, weights @ value),
            "logsumexp": (seen.logsumexp, scores.logsumexp(-1)),
            "entropy": (seen.entropy(), -weights.xlogy(weights).sum(-1)),
            "top-k": (seen.top_k(9).values, weights.topk(9).values),
            "picture": (seen.pooled(*size, reduce=reduce), cells(weights, *size, how)),
        }
        if measure.received:
            found["received"] = (seen.received(), weights.sum(-2))
        for name, (ours, truth) in found.items():
            torch.testing.assert_close(
                ours.double(), truth, atol=3e-5, rtol=3e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    assert all(answers)


@pytest.mark.parametrize("k", [1, 3, 8, 9, 64])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("course", COURSES)
def test_the_largest_are_the_first_of_equals(course, kind, k):
    mask, rule = MASKS[kind]
    keys = 4500
    allowed = rule(torch.arange(QUERIES)[:, None], torch.arange(keys)).expand(1, 2, -1, -1)
    if mask is None and not allowed.all():
        mask = masks.dense(allowed)
    query, key, value = scored(course, keys, 0.0)
    scores = (query @ key.mT).masked_fill(~allowed, -torch.inf)
    expected = scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    expected = expected.where(allowed.gather(-1, expected), -1)
    _, seen = eyeline.observe(
        *(query, key, value), mask, scale=1.0, impl="native", measure=eyeline.Measure(top_k=k)
    )
    assert torch.equal(seen.top_k(k).indices, expected)


@pytest.mark.parametrize("wanted", ["entropy", "received", "pooled", "top_k"])
def test_one_statistic_alone_is_what_it_is_among_all(wanted):
    measure = {"entropy": True, "received": True, "pooled": (20, 30), "top_k": 5}
    tensors = scored("rising", 1600, 1.0)
    every, one = (
        eyeline.observe(*tensors, impl="native", measure=eyeline.Measure(**asked))[1]
        for asked in (measure, {wanted: measure[wanted]})
    )
    arguments = {"pooled": (20, 30), "top_k": (5,)}.get(wanted, ())
    ours, same = (getattr(seen, wanted)(*arguments) for seen in (one, every))
    if wanted == "top_k":
        assert torch.equal(ours.indices, same.indices)
        ours, same = ours.values, same.values
    assert torch.equal(ours, same)
