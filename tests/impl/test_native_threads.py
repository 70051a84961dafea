"""Races, forks and changing thread counts: the same numbers whoever computes them."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import eyeline
from eyeline import masks
from eyeline.impl import native

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

EVERYTHING = eyeline.Measure(top_k=4, entropy=True, received=True, pooled=7)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def tensors():
    return [torch.randn(1, heads, 150, 24).requires_grad_() for heads in (4, 2, 2)]


def everything(q, k, v) -> list[torch.Tensor]:
    """Forward, gradients, statistics and one decoding step."""
    how = {"attn_mask": masks.causal(), "enable_gqa": True, "impl": "native"}
    output = eyeline.attention(q, k, v, **how)
    gradients = torch.autograd.grad(output.sin().sum(), (q, k, v))
    q, k, v = (t.detach() for t in (q, k, v))
    seen = eyeline.observe(q, k, v, **how, measure=EVERYTHING)[1].measure(
        top_k=4, entropy=True, received=True
    )
    last = eyeline.attention(q[:, :, -1:], k, v, enable_gqa=True, impl="native")
    return [output.detach(), *gradients, *seen.top_k, seen.entropy, seen.received, last]


def same(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_250_repeats_under_changing_thread_counts_give_the_same_bits():
    inputs, expected = tensors(), {}
    for turn in range(250):
        count = turn % 5 + 1
        torch.set_num_threads(count)
        found = everything(*inputs)
        assert same(found, expected.setdefault(count, found)), (turn, count)
    for other in expected.values():
        for ours, theirs in zip(other, expected[1], strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, 3])
def test_keys_that_several_threads_share_are_joined(threads, rows):
    """Each thread knows its own largest score only: the largest of all lies in one part."""
    torch.set_num_threads(threads)
    q, k, v = (torch.randn(1, heads, n, 64) for heads, n in ((4, rows), (2, 3000), (2, 3000)))
    for where in (5, 1700, 2990):
        peaked = k.clone()
        peaked[:, :, where] += 3 * q[:, ::2, -1]
        expected = eyeline.attention(
            *(t.double() for t in (q, peaked, v)), enable_gqa=True, impl="reference"
        )
        for kind in (torch.float32, torch.bfloat16):
            given = [t.to(kind) for t in (q, peaked, v)]
            found = eyeline.attention(*given, enable_gqa=True, impl="native")
            near = 2e-6 if kind is torch.float32 else 3e-2
            torch.testing.assert_close(found.double(), expected, rtol=near, atol=near)


def test_python_threads_do_not_disturb_each_other():
    torch.set_num_threads(2)
    problems = [tensors() for _ in range(8)]
    expected = [everything(*problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(lambda problem: everything(*problem), problems))
            assert all(same(*pair) for pair in zip(found, expected, strict=True))


def _in_child(queue, inputs):
    torch.set_num_threads(1)  # what torch asks of every forked process (DataLoader does it, too)
    queue.put([t.tolist() for t in everything(*inputs)[:1]])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_computes_the_same():
    torch.set_num_threads(2)
    inputs = tensors()
    everything(*inputs)
    torch.set_num_threads(1)
    expected = everything(*inputs)[0].tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, inputs))
    child.start()
    try:
        assert queue.get(timeout=60)[0] == expected
    finally:
        child.join(10)
        child.kill()
