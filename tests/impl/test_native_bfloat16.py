"""bfloat16, whose products are of pairs or whole tiles: what does not fill these, long texts."""

import pytest
import torch
from torch.nn import functional

import eyeline
from eyeline import masks
from eyeline.impl import native

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

SHAPES = [  # queries, keys, head_dim, value_dim: around tiles of 16 and 32, 48 queries, 512 keys
    (5, 17, 16, 16),
    (49, 15, 33, 24),
    (130, 513, 64, 64),
    (70, 1100, 96, 80),
    (33, 64, 160, 256),
    (900, 40, 64, 17),
]
MASKS = {
    "full": (None, lambda i, j: (i == i) & (j == j)),
    "causal": (masks.causal(offset=7), lambda i, j: j <= i + 7),
    "window": (masks.sliding_window((20, 30)), lambda i, j: (i - j <= 20) & (j - i <= 30)),
    "scattered": (None, lambda i, j: (i * 7 + j * 5) % 3 == 0),
}

EVERYTHING = eyeline.Measure(top_k=3, entropy=True, received=True)


def solved(tensors, allowed):
    """Output, log-sum-exp and weights in float64 of what bfloat16 holds; dead rows are 0."""
    query, key, value = (t.detach().double().requires_grad_() for t in tensors)
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(~allowed, -torch.inf)
    weights = scores.softmax(-1).masked_fill(~allowed.any(-1, keepdim=True), 0)
    return weights @ value, scores.logsumexp(-1), weights.detach(), (query, key, value)


@pytest.fixture(params=SHAPES, ids=str)
def tensors(request):
    queries, keys, width, value_width = request.param
    torch.manual_seed(queries)
    sizes = [(2, 4, queries, width), (2, 4, keys, width), (2, 4, keys, value_width)]
    return [torch.randn(size).bfloat16().requires_grad_() for size in sizes]


@pytest.mark.parametrize("kind", MASKS)
def test_output_statistics_and_gradients_equal_float64_without_careful_panels(
    answers, tensors, kind
):
    mask, rule = MASKS[kind]
    rows, columns = tensors[0].shape[-2], tensors[1].shape[-2]
    allowed = rule(torch.arange(rows)[:, None], torch.arange(columns))
    if kind == "scattered":
        mask = masks.dense(allowed)
    exact, logsumexp, weights, doubles = solved(tensors, allowed)
    output = eyeline.attention(*tensors, mask, impl="native")
    near = {"atol": 1.5e-2, "rtol": 1e-2}
    torch.testing.assert_close(output.double(), exact, **near)

    seen_output, seen = eyeline.observe(*tensors, mask, impl="native", measure=EVERYTHING)
    torch.testing.assert_close(seen_output.double(), exact, **near)
    statistics = {
        "logsumexp": (seen.logsumexp, logsumexp),
        "entropy": (seen.entropy(), -weights.xlogy(weights).sum(-1)),
        "received": (seen.received(), weights.sum(-2)),
        "top-k": (seen.top_k(3).values, weights.topk(3).values),
    }
    for name, (found, truth) in statistics.items():
        torch.testing.assert_close(
            found.double(), truth, atol=3e-5, rtol=3e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
    chosen = weights.gather(-1, seen.top_k(3).indices.clamp(min=0))
    torch.testing.assert_close(chosen, weights.topk(3).values, atol=3e-5, rtol=3e-5)

    cotangent = torch.randn(output.shape).bfloat16()
    gradients = torch.autograd.grad(output, tensors, cotangent)
    expected = torch.autograd.grad(exact, doubles, cotangent.double())
    for ours, theirs in zip(gradients, expected, strict=True):
        assert not theirs.isnan().any()
        torch.testing.assert_close(ours.double(), theirs, atol=3e-2, rtol=2e-2)
    assert len(answers) >= 3 and all(answers)


def test_numbers_that_no_query_may_see_change_no_bit(tensors):
    _, key, value = tensors
    unseen = key.shape[-2] // 3 or 1
    mask = masks.padding([key.shape[-2] - unseen] * 2)
    clean = eyeline.attention(*tensors, mask, impl="native")
    with torch.no_grad():
        key[..., -unseen:, :] = torch.nan
        value[..., -unseen:, :] = torch.inf
    assert torch.equal(eyeline.attention(*tensors, mask, impl="native"), clean)


def test_torchs_own_tiles_and_ours_take_turns():
    """A thread has one set of tile registers, and torch remembers what it set them to."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 130, 64).bfloat16() for _ in range(3))
    weight, image = torch.randn(64, 64).bfloat16(), torch.randn(2, 16, 20, 20).bfloat16()
    kernel = torch.randn(16, 16, 3, 3).bfloat16()
    turns = {
        "eyeline": lambda: eyeline.attention(query, key, value, impl="native"),
        "sdpa": lambda: functional.scaled_dot_product_attention(query, key, value),
        "linear": lambda: functional.linear(query, weight),
        "bmm": lambda: query @ key.transpose(-2, -1),
        "conv": lambda: functional.conv2d(image, kernel),
    }
    first = {name: turn() for name, turn in turns.items()}
    for _ in range(10):
        for name in turns:
            for other in (name, "eyeline"):
                assert torch.equal(turns[other](), first[other]), f"{other} after {name}"


@pytest.mark.parametrize("width", [1, 8, 16, 24, 37, 64, 128])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("odd", [False, True])
def test_few_queries_read_each_number_without_its_neighbour(rows, width, odd):
    """A pair of numbers comes as 32 bits; what lies in the other half must not show."""
    hidden = torch.arange(width) % 2 != odd
    query = torch.randn(1, rows, 1, width).masked_fill(hidden, 0).bfloat16()
    key = torch.randn(width).repeat(1, 1, 2, 1).where(~hidden, torch.randn(1, 1, 2, width))
    value = torch.randn(1, 1, 1, width).bfloat16()
    # scores that are equal to the last bit: halves of what cancels
    output = eyeline.attention(
        query, key.bfloat16(), torch.cat([value, -value], -2), enable_gqa=True, impl="native"
    )
    assert (output == 0).all()
    # one key: its value
    output = eyeline.attention(
        query, key.bfloat16()[:, :, :1], value, enable_gqa=True, impl="native"
    )
    assert torch.equal(output, value.expand_as(output))
