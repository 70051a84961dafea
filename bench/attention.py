"""Attention against torch's SDPA and onnxruntime's, side by side, with the share of the machine.

python -m bench.attention [--only forward] [--rounds 9] [--threads 2] [--machine amx]

Ratios are theirs / ours: above 1, eyeline is faster. FLOPs count 4 B H Nq Nk D forward, 10
backward, half of it where a mask is causal. onnxruntime joins in where it is installed:
pip install onnx onnxruntime.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

import eyeline
from bench._measure import compare, interleaved, write_json
from bench._peak import Machine
from bench._rivals import onnxruntime_attention
from eyeline import masks

EVERYTHING = eyeline.Measure(top_k=8, entropy=True, received=True, pooled=256)
FLOAT32, BFLOAT16, FLOAT16 = torch.float32, torch.bfloat16, torch.float16


@dataclass
class Case:
    """Runs that do the same work, and how much of it.

    Attributes:
        group: What `--only` selects.
        name: The shape and what is special about it.
        runs: "eyeline" and its rivals.
        flops: What the work takes; 0 where it is not arithmetic that counts.
        read: Bytes that must be read at least; 0 likewise.
        dtype: Of the tensors.
    """

    group: str
    name: str
    runs: dict[str, Callable[[], object]]
    flops: float = 0.0
    read: float = 0.0
    dtype: torch.dtype = field(default=FLOAT32)


SHAPES = [  # batch, heads, kv heads, length, width
    (1, 12, 12, 16, 64),
    (1, 12, 12, 64, 64),
    (32, 12, 12, 32, 32),
    (8, 12, 12, 128, 64),
    (1, 12, 12, 512, 64),
    (1, 12, 12, 2048, 64),
    (1, 32, 8, 2048, 64),
    (1, 8, 8, 4096, 128),
    (1, 1, 1, 16384, 64),
]


def tensors(shape: tuple, dtype: torch.dtype, grad: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, kv_heads, length, width = shape
    torch.manual_seed(0)
    return tuple(
        torch.randn(batch, h, length, width).to(dtype).requires_grad_(grad)
        for h in (heads, kv_heads, kv_heads)
    )  # type: ignore[return-value]


def label(shape: tuple, causal: bool = False) -> str:
    batch, heads, kv_heads, length, width = shape
    head = f"{heads}" if heads == kv_heads else f"{heads}/{kv_heads}"
    return f"{batch}x{head}x{length}x{width}" + (" causal" if causal else "")


def flops(shape: tuple, causal: bool, products: int = 2) -> float:
    batch, heads, _, length, width = shape
    return 2.0 * products * batch * heads * length**2 * width / (2 if causal else 1)


def both(q: Tensor, k: Tensor, v: Tensor, **how) -> dict[str, Callable]:
    """The same call of torch and of eyeline."""
    return {
        "torch": partial(F.scaled_dot_product_attention, q, k, v, **how),
        "eyeline": partial(eyeline.attention, q, k, v, **how),
    }


def kinds() -> Iterator[tuple[tuple, bool, dict[str, bool]]]:
    """Shapes, causal or not, and how that is said."""
    for shape in SHAPES:
        for causal in (False, True):
            yield shape, causal, {"is_causal": causal, "enable_gqa": shape[1] != shape[2]}


def forward(dtype: torch.dtype) -> Iterator[Case]:
    for shape, causal, how in kinds():
        q, k, v = tensors(shape, dtype)
        runs = both(q, k, v, **how)
        if dtype == FLOAT32 and not causal and shape[1] == shape[2]:
            rival = onnxruntime_attention(q, k, v)
            if rival is not None:
                runs["onnxruntime"] = rival
        name = f"forward-{str(dtype).removeprefix('torch.')}"
        yield Case(name, label(shape, causal), runs, flops(shape, causal), dtype=dtype)


def masked() -> Iterator[Case]:
    def pair(name: str, shape: tuple, dense: Tensor, mask: masks.Mask | Tensor) -> Case:
        q, k, v = tensors(shape, FLOAT32)
        runs = both(q, k, v, attn_mask=dense)
        runs["eyeline"] = partial(eyeline.attention, q, k, v, attn_mask=mask)
        return Case("masks", f"{label(shape)} {name}", runs)

    length = 16384
    position = torch.arange(length)
    distance = position[:, None] - position
    yield pair(
        "window 256",
        (1, 1, 1, length, 64),
        (distance >= 0) & (distance < 256),
        masks.sliding_window(256),
    )
    shape = (8, 12, 12, 512, 64)
    lengths = torch.linspace(64, 448, 8).long()
    yield pair(
        "half padding",
        shape,
        (torch.arange(512) < lengths[:, None])[:, None, None],
        masks.padding(lengths),
    )
    for shape in ((1, 12, 12, 2048, 64), (1, 1, 1, length, 64)):
        torch.manual_seed(1)
        dense = torch.rand(shape[3], shape[3]) < 0.9
        yield pair("dense bool", shape, dense, dense)


def unfused() -> Iterator[Case]:
    """Where torch leaves its fused kernel."""
    shape = (1, 12, 12, 2048, 64)
    q, k, v = tensors(shape, FLOAT32)
    wide = torch.randn(1, 12, 2048, 128)
    wider = 1.5 * flops(shape, False)
    yield Case("unfused", f"{label(shape)} value_dim 128", both(q, k, wide), wider)
    dropped = both(q, k, v, dropout_p=0.1)
    yield Case("unfused", f"{label(shape)} dropout", dropped, flops(shape, False))
    leaves = [t.requires_grad_() for t in tensors(shape, FLOAT32)]
    bias = torch.randn(1, 12, 2048, 2048).requires_grad_()

    def with_gradient(f: Callable) -> object:
        with torch.enable_grad():
            return torch.autograd.grad(f().sum(), [*leaves, bias])

    fixed = bias.detach()

    def beside_it(f: Callable) -> object:
        with torch.enable_grad():
            return torch.autograd.grad(f().sum(), leaves)

    yield Case(
        "unfused",
        f"{label(shape)} fixed bias, gradients of the rest",
        {n: partial(beside_it, f) for n, f in both(*leaves, attn_mask=fixed).items()},
        flops(shape, False, 7),
    )
    yield Case(
        "unfused",
        f"{label(shape)} bias with gradient",
        {n: partial(with_gradient, f) for n, f in both(*leaves, attn_mask=bias).items()},
        flops(shape, False, 7),
    )


def decode() -> Iterator[Case]:
    for dtype in (FLOAT32, BFLOAT16):
        for batch, heads, kv_heads, queries, width in (
            (1, 32, 8, 1, 128),
            (8, 32, 8, 1, 128),
            (1, 9, 3, 1, 64),
            (1, 12, 12, 1, 64),
            (1, 32, 8, 16, 128),
            (1, 32, 8, 64, 128),
        ):
            torch.manual_seed(0)
            q = torch.randn(batch, heads, queries, width).to(dtype)
            k, v = (torch.randn(batch, kv_heads, 4096, width).to(dtype) for _ in range(2))
            read = 2.0 * batch * kv_heads * 4096 * width * q.element_size()
            name = f"{batch}x{heads}/{kv_heads} {queries}|4096x{width} {q.element_size() * 8} bit"
            yield Case("decode", name, both(q, k, v, enable_gqa=True), read=read, dtype=dtype)


def backward(dtype: torch.dtype) -> Iterator[Case]:
    for shape, causal, how in kinds():
        if shape in SHAPES[:3]:
            continue
        inputs = tensors(shape, dtype, grad=True)
        runs = {}
        for name, f in both(*inputs, **how).items():
            with torch.enable_grad():
                output = f()
            gradient = torch.ones_like(output)
            runs[name] = partial(torch.autograd.grad, output, inputs, gradient, retain_graph=True)
        name = f"backward-{str(dtype).removeprefix('torch.')}"
        yield Case(name, label(shape, causal), runs, flops(shape, causal, 5), dtype=dtype)


def observed() -> Iterator[Case]:
    for shape, causal, how in kinds():
        if shape in SHAPES[:4]:
            continue
        q, k, v = tensors(shape, FLOAT32)
        runs = both(q, k, v, **how)
        runs["blind"] = runs["eyeline"]
        runs["eyeline"] = partial(eyeline.observe, q, k, v, measure=EVERYTHING, **how)
        yield Case("observed", label(shape, causal), runs, flops(shape, causal))


GROUPS: list[Callable[[], Iterator[Case]]] = [
    *(lambda d=d: forward(d) for d in (FLOAT32, BFLOAT16, FLOAT16)),
    masked,
    unfused,
    decode,
    *(lambda d=d: backward(d) for d in (FLOAT32, BFLOAT16)),
    observed,
]


def report(case: Case, rounds: int, machine: Machine) -> dict:
    """Time a case, print a line, return what goes into the JSON."""
    table = compare(interleaved(case.runs, rounds, at_least=0.02), base="eyeline")
    row: dict = {"group": case.group, "case": case.name, "times": table}
    line = f"{case.group:16} {case.name:32}"
    for name, times in table.items():
        if name != "eyeline":
            line += f"  {name} {times['ratio_median']:6.2f} x ({times['ratio_best']:.2f} best)"
    for name in table:
        if case.flops:
            share = case.flops / table[name]["best_s"] / machine.flops(case.dtype)
        elif case.read:
            share = case.read / table[name]["best_s"] / machine.bandwidth
        else:
            continue
        table[name]["share_of_peak"] = share
        line += f"  {name} {100 * share:.0f} %"
    print(line, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="groups whose name contains this")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--machine", default="", help="what to call this machine in the JSON's name"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    machine = Machine.measured()
    print(machine)
    rows = []
    for group in GROUPS:
        for case in group():
            if options.only not in case.group:
                break
            rows.append(report(case, options.rounds, machine))
    name = "-".join(["attention", *filter(None, (options.machine, options.only))])
    print(write_json(name, {"machine": machine.as_dict(), "cases": rows}))


if __name__ == "__main__":
    main()
