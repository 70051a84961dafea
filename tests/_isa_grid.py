"""A compact grid of calls against the judge, in whatever instruction set `EYELINE_ISA` names.

    EYELINE_ISA=avx2 python tests/_isa_grid.py

Prints the instruction set, or why there is none; exit status 1 with a traceback if a case is wrong.
"""

import itertools
import sys

import torch

import _oracle
import eyeline
from _grid import MASKS, Case
from eyeline.biases import Alibi, alibi_slopes
from eyeline.impl._native_library import library

LENGTHS = [(1, 129), (19, 70), (67, 97)]
HEAD_DIMS = [8, 59, 128]
SIZES = [
    *itertools.product(LENGTHS, HEAD_DIMS),
    ((67, 300), 24),  # more keys than `FEW_KEYS`: gradients walk over them once
]
TOLERANCE = {torch.float32: 5e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}
OPTIONS = {
    "plain": {},
    "softcap": {"softcap": 2.0},
    "sinks": {"sinks": torch.linspace(-1, 1, 4)},
    "alibi": {"bias": Alibi(alibi_slopes(4), offset=2)},
}


def close(found, truth, case, dtype=torch.float32):
    limit = TOLERANCE[dtype]
    torch.testing.assert_close(
        found.double(), truth, atol=limit, rtol=limit, msg=lambda m: f"{case}: {m}"
    )


def check(dtype, lengths, head_dim, mask, option):
    case = Case(dtype, lengths, head_dim, mask, "GQA")
    q, k, v, _ = case.inputs()
    attn_mask, allowed, bias = case.mask_and_truth()
    given, truth = OPTIONS[option], dict(OPTIONS[option])
    if "bias" in truth:
        added = _oracle.alibi(truth["bias"].slopes, allowed.shape, 2)
        truth["bias"] = added if bias is None else added + bias
    elif bias is not None:
        truth["bias"] = bias
    leaves, doubles = (
        [t.to(d).requires_grad_() for t in (q, k, v)] for d in (dtype, torch.float64)
    )
    exact = _oracle.solve(*doubles, allowed=allowed, **truth)
    call = {"attn_mask": attn_mask, "enable_gqa": True, "impl": "native"} | given
    name = f"{case}-{option}"
    close(eyeline.attention(q, k, v, **call), exact.output, name, dtype)
    output = eyeline.attention(*leaves, **call)
    cotangent = torch.randn(output.shape).to(dtype)
    found = torch.autograd.grad(output, leaves, cotangent)
    expected = _oracle.gradients(exact.output, doubles, cotangent.double())
    for ours, theirs in zip(found, expected, strict=True):
        close(ours, theirs, f"gradients of {name}", dtype)
    if dtype is torch.float32 and head_dim == 8 and lengths == (19, 70):
        reduce = "sum" if option in ("plain", "sinks") else "max"
        measure = eyeline.Measure(7, True, True, (7, 9), reduce)
        output, seen = eyeline.observe(q, k, v, **call, measure=measure)
        stats = seen.take(measure)
        close(output, exact.output, name)
        close(stats.entropy, _oracle.entropy(exact.weights), name)
        close(stats.received, _oracle.received(exact.weights), name)
        close(stats.pooled, _oracle.pooled(exact.weights, 7, 9, reduce), name)
        values, indices = _oracle.top_k(exact.weights, exact.live, 7)
        close(stats.top_k.values, values, name)
        assert torch.equal(stats.top_k.indices == -1, indices == -1), name
        found = exact.weights.gather(-1, stats.top_k.indices.clamp(min=0))
        close(found.where(indices >= 0, 0), values, name)


def check_digits():
    """Weights of 64 keys, from e^0 down to e^-85, have all their digits but one or two.

    What is left: roundings of 6e-8, one of them, that of 1 / ln 2, times x.
    """
    scores = -torch.rand(200, 64, generator=torch.Generator().manual_seed(1)) * torch.linspace(
        0, 85, 64
    )
    query = torch.ones(200, 1, 1, 1)
    measure = eyeline.Measure(top_k=64)
    key = scores[:, None, :, None]
    _, seen = eyeline.observe(query, key, key, scale=1.0, measure=measure, impl="native")
    found = seen.take(measure).top_k
    truth = scores.double().softmax(-1)[:, None, None].gather(-1, found.indices)
    distance = (scores.amax(-1, keepdim=True) - scores)[:, None, None].gather(-1, found.indices)
    error = (found.values.double() / truth - 1).abs()
    fused = library().isa != "generic"  # x / ln 2 and what it adds to are rounded once
    limit = 5e-7 + (1.5e-8 if fused else 8e-8) * distance
    assert (error < limit).all(), (error / limit).max()


def main() -> None:
    loaded = library()
    if isinstance(loaded, str):
        sys.exit(loaded)
    options = itertools.cycle(OPTIONS)  # 4 options, 9 masks: every pair is met
    for dtype, size, mask in itertools.product(TOLERANCE, SIZES, MASKS):
        check(dtype, *size, mask, next(options))
    check_digits()
    print(loaded.isa)


if __name__ == "__main__":
    main()
