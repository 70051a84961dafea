"""`AttentionMap`: exact answers, cheap answers, refusals. Random cases: test_properties."""

import subprocess
import sys

import pytest
import torch

import _oracle
import eyeline
from eyeline import AttentionMap, Measure, masks


@pytest.fixture
def seen() -> AttentionMap:
    q, k, v = (torch.randn(2, h, n, 8) for h, n in ((4, 12), (2, 20), (2, 20)))
    return eyeline.observe(q, k, v, masks.causal(8), enable_gqa=True)[1]


@pytest.fixture
def exact(seen) -> _oracle.Answer:
    problem = seen.problem
    allowed = _oracle.written_out(_oracle.causal(8), tuple(seen.shape))
    return _oracle.solve(problem.query, problem.key, problem.value, allowed=allowed)


def test_what_it_says_about_itself(seen):
    assert seen.shape == (2, 4, 12, 20) and seen.numel() == 2 * 4 * 12 * 20
    assert seen.dtype == torch.float32
    floats = 2 * 4 * 12 * 8 + 2 * (2 * 2 * 20 * 8) + 2 * (2 * 4 * 12)
    assert seen.nbytes == 4 * floats
    full = f"{seen.numel() * 4 / 1000:.3g} kB"
    assert repr(seen) == (
        "AttentionMap(2 x 4 heads, 12 queries x 20 keys, causal(offset=8); "
        f"{seen.nbytes / 1000:.3g} kB instead of {full})"
    )


def test_half_precision_shows_weights_in_float32():
    q = torch.randn(1, 1, 4, 8, dtype=torch.bfloat16)
    assert eyeline.observe(q, q, q)[1].dense().dtype == torch.float32


def test_statistics_one_by_one_and_together(seen, exact):
    near = {"atol": 1e-5, "rtol": 1e-5}
    values, indices = _oracle.top_k(exact.weights, exact.live, 3)
    for top in (seen.top_k(3), seen.measure(top_k=3, entropy=True).top_k):
        torch.testing.assert_close(top.values.double(), values, **near)
        assert torch.equal(top.indices, indices)
    torch.testing.assert_close(seen.entropy().double(), _oracle.entropy(exact.weights), **near)
    torch.testing.assert_close(seen.received().double(), _oracle.received(exact.weights), **near)
    for reduce in ("sum", "max", "mean"):
        for size in ((3, 7), (12, 20), (1, 1), (5, 5), (100, 100)):
            truth = _oracle.pooled(exact.weights, *size, reduce)
            torch.testing.assert_close(seen.pooled(*size, reduce=reduce).double(), truth, **near)
    assert seen.pooled(5).shape == (2, 4, 5, 5)


def test_uniform_weights_have_entropy_log_n_in_nats():
    q, k = torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 16, 4)
    _, flat = eyeline.observe(q, k, k)
    torch.testing.assert_close(flat.entropy(), torch.full((1, 1, 3), 16.0).log())
    torch.testing.assert_close(flat.received(), torch.full((1, 1, 16), 3 / 16))
    assert flat.top_k(5).indices[0, 0].tolist() == [[0, 1, 2, 3, 4]] * 3


def test_fewer_keys_than_k(seen):
    q = torch.randn(1, 1, 4, 8)
    top = eyeline.observe(q, q, q, is_causal=True)[1].top_k(9)
    assert top.values.shape == (1, 1, 4, 4)
    assert top.indices[0, 0, 0].tolist() == [0, -1, -1, -1]
    assert top.values[0, 0, 0].tolist() == [1, 0, 0, 0]
    with pytest.raises(ValueError, match="k of at least 1, got 0"):
        seen.top_k(0)
    with pytest.raises(ValueError, match="must not be negative"):
        seen.measure(top_k=-1)


def test_what_was_measured_is_not_measured_again(seen, monkeypatch):
    asked = {"top_k": 4, "entropy": True, "received": True, "pooled": 3}
    first = seen.measure(**asked)
    for implementation in (eyeline.impl.tiled, eyeline.impl.native):
        monkeypatch.setattr(implementation, "measure", None)
        monkeypatch.setattr(implementation, "stream", None)
    again = seen.measure(**asked)
    assert again.entropy is first.entropy and again.pooled is first.pooled
    assert torch.equal(seen.top_k(2).indices, first.top_k.indices[..., :2])
    with pytest.raises(TypeError):
        seen.pooled(4)
    nothing = seen.measure()
    assert nothing.top_k is nothing.entropy is nothing.received is nothing.pooled is None


def test_chosen_rows_come_with_the_other_statistics(exact, seen):
    found = seen.measure(rows=(3, -1), entropy=True)
    torch.testing.assert_close(
        found.rows.double(), exact.weights[:, :, [3, -1]], atol=1e-6, rtol=1e-5
    )
    assert seen.measure(rows=(3, -1)).rows is found.rows and seen.measure(entropy=True).rows is None
    with pytest.raises(IndexError, match="12"):
        seen.measure(rows=(12,))


def test_measured_with_the_output_is_measured(monkeypatch):
    q = torch.randn(1, 2, 6, 8)
    _, seen = eyeline.observe(q, q, q, measure=Measure(2, True, True, (2, 3), "max", rows=(-1,)))
    for implementation in (eyeline.impl.tiled, eyeline.impl.native):
        monkeypatch.setattr(implementation, "measure", None)
        monkeypatch.setattr(implementation, "stream", None)
    assert seen.entropy().shape == (1, 2, 6) and seen.received().shape == (1, 2, 6)
    assert seen.top_k(2).values.shape == (1, 2, 6, 2)
    assert seen.pooled(2, 3, reduce="max").shape == (1, 2, 2, 3)
    assert seen.measure(rows=(-1,)).rows.shape == (1, 2, 1, 6)


def test_indices_as_torch_takes_them(seen, exact):
    dense = exact.weights
    mask = torch.rand(12) < 0.5
    for index in [
        (0, 3, 7),
        (-1, ..., 2),
        (..., slice(2, 9, 3)),
        (1, [0, 3], 5),
        ([0, 1], [2, 3], 5, [7, 7]),
        (0, 0, mask),
        (slice(5, 2),),
        (torch.tensor(1), 2),
        (0, 1, 2, 3),
        ([],),
    ]:
        torch.testing.assert_close(seen[index].double(), dense[index], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ((0, 4), IndexError, "head 4 does not exist: there are 4"),
        ((0, 0, -13), IndexError, "query -13 does not exist"),
        ((0, 0, 0, [3, 20]), IndexError, "key 20 does not exist"),
        ((2,), IndexError, "batch item 2"),
        ((0, 0, 0, 0, 0), IndexError, "4 dimensions"),
        ((..., 0, ...), IndexError, "4 dimensions"),
        ((None,), TypeError, "no new axes"),
        ((True,), TypeError, "no new axes"),
        ((0, slice(None, None, -1)), ValueError, "positive step"),
    ],
)
def test_bad_indices(seen, index, error, message):
    with pytest.raises(error, match=message):
        seen[index]


def test_what_would_be_too_large_is_refused(seen, monkeypatch):
    with pytest.raises(MemoryError, match=r"dense\(\) would take 7.68 kB, the limit is 100 B: ask"):
        seen.dense(limit=100)
    monkeypatch.setattr(eyeline.maps, "DENSE_LIMIT", 100)
    with pytest.raises(MemoryError, match="this index would take"):
        seen[0]
    assert seen[0, 0, 0].shape == (20,)


def test_select_is_lazy_and_four_dimensional(seen, exact):
    for options, part in [
        ({"head": 3}, exact.weights[:, 3:]),
        ({"batch": -1}, exact.weights[1:]),
        ({"batch": 0, "head": 2}, exact.weights[:1, 2:3]),
        ({}, exact.weights),
    ]:
        one = seen.select(**options)
        assert one.shape == part.shape
        torch.testing.assert_close(one.dense().double(), part, atol=1e-6, rtol=1e-5)
    with pytest.raises(IndexError, match="head 4 does not exist"):
        seen.select(head=4)


def test_tiles_of_the_pyramid_at_its_real_size():
    q, k = torch.randn(1, 1, 300, 8), torch.randn(1, 1, 700, 8)
    _, seen = eyeline.observe(q, k, k)
    dense = seen.dense()
    assert torch.equal(seen.tile(0, 1, 2), dense[:, :, 256:, 512:])
    half = seen.tile(1, 0, 1)
    assert half.shape == (1, 1, 150, 94)
    cell = dense[0, 0, 20:22, 512 + 60 : 512 + 62]
    torch.testing.assert_close(half[0, 0, 10, 30], cell.sum())
    torch.testing.assert_close(seen.tile(1, 0, 1, reduce="max")[0, 0, 10, 30], cell.max())
    torch.testing.assert_close(seen.tile(1, 0, 1, reduce="mean")[0, 0, 10, 30], cell.mean())
    assert seen.tile(10, 0, 0).shape == (1, 1, 1, 1)
    torch.testing.assert_close(seen.tile(10, 0, 0).sum(), torch.tensor(300.0))
    with pytest.raises(IndexError, match=r"tile j=3: level 0 has 3 \(from 0\)"):
        seen.tile(0, 0, 3)
    with pytest.raises(ValueError, match="count from 0"):
        seen.tile(-1, 0, 0)
    with pytest.raises(ValueError, match="reduce must be"):
        seen.tile(0, 0, 0, reduce="median")


def test_a_map_refuses_to_show_weights_that_never_were():
    q, k = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 4, 8)
    _, seen = eyeline.observe(q, k, k)
    head = seen.select(head=0)
    known = seen.entropy()
    k.add_(1)
    assert seen.entropy() is known  # measured before the change
    for ask in (seen.dense, seen.received, head.dense, lambda: seen[0], lambda: seen.tile(0, 0, 0)):
        with pytest.raises(RuntimeError, match="changed in place"):
            ask()
    with torch.inference_mode():
        q = torch.randn(1, 1, 4, 8)
        assert eyeline.observe(q, q, q)[1].dense().shape == (1, 1, 4, 4)


@pytest.mark.parametrize("size", [0, (0, 3), (3, -1)])
def test_a_picture_has_cells(seen, size):
    with pytest.raises(ValueError, match="at least 1 row and 1 column"):
        seen.measure(pooled=size)


def test_a_picture_of_no_size_is_refused(seen):
    with pytest.raises(TypeError, match="whole numbers of rows and columns, got 4, 'max'"):
        seen.pooled(4, "max")
    assert seen.measure(pooled=[2, 3]).pooled.shape[-2:] == (2, 3)
    with pytest.raises(TypeError, match=r"got 2\.5, 2\.5"):
        seen.measure(pooled=2.5)
    with pytest.raises(ValueError, match=r"\(rows, columns\) or one number, got \(1, 2, 3\)"):
        seen.measure(pooled=(1, 2, 3))


MEMORY = """
import resource, torch, eyeline
torch.set_num_threads(1)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def head(n, grad=False): return [torch.randn(1, 1, n, 64, requires_grad=grad) for _ in range(3)]
measure = eyeline.Measure(top_k=8, entropy=True, received=True, pooled=256)
q, k, v = head(512, True)
eyeline.observe(q, k, v, is_causal=True, measure=measure)[0].sum().backward()
q, k, v = head({n}, {grad})
before = peak()
output, seen = eyeline.observe(q, k, v, is_causal={causal}, measure=measure)
if {grad}: output.sum().backward()
print(peak() - before)
"""


def _extra_megabytes(**options) -> int:
    code = MEMORY.format(**options)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_memory_is_linear_at_8192():
    """The weights would be 268 MB; forward, all statistics and backward stay below 100."""
    assert _extra_megabytes(n=8192, grad=True, causal=True) < 100


@pytest.mark.slow
def test_memory_is_linear_at_32768():
    """The weights would be 4.3 GB."""
    assert _extra_megabytes(n=32768, grad=False, causal=False) < 100
