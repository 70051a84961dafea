"""The grid of contract N7: dtypes × lengths × head dims × masks × head layouts, and pairs of it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import _oracle
from eyeline import masks

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
LENGTHS = [
    *[(0, 4), (4, 0), (1, 1), (1, 129), (2, 5), (5, 2), (7, 7)],
    *[(64, 64), (97, 128), (128, 97), (129, 129), (513, 513)],
]
HEAD_DIMS = [1, 3, 8, 59, 64, 111, 128, 256]
MASKS = [
    *["none", "causal", "causal_offset", "window", "padding"],
    *["prefix_causal", "documents", "dense", "float"],
]
HEADS = {"MHA": (2, 2), "GQA": (4, 2), "MQA": (3, 1)}
AXES = (DTYPES, LENGTHS, HEAD_DIMS, MASKS, list(HEADS))
FLOOR = {
    torch.float64: 1e-13,
    torch.float32: 1e-6,
    torch.float16: 1e-3,
    torch.bfloat16: 1e-3,
}


@dataclass(frozen=True)
class Case:
    dtype: torch.dtype
    lengths: tuple[int, int]
    head_dim: int
    mask: str
    heads: str

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return (
            f"{name}-{self.lengths[0]}x{self.lengths[1]}-d{self.head_dim}-{self.mask}-{self.heads}"
        )

    def inputs(self) -> list[Tensor]:
        """Query, key, value and a cotangent of the output."""
        draw = torch.Generator().manual_seed(sum(map(ord, str(self))))
        heads, kv_heads = HEADS[self.heads]
        q_len, kv_len = self.lengths
        sizes = [(heads, q_len), (kv_heads, kv_len), (kv_heads, kv_len), (heads, q_len)]
        return [
            torch.randn(2, h, n, self.head_dim, generator=draw).to(self.dtype) for h, n in sizes
        ]

    def mask_and_truth(self):
        """What `attn_mask` gets; the allowed cells; the bias as a tensor if the mask is one."""
        q_len, kv_len = self.lengths
        shape = (2, HEADS[self.heads][0], q_len, kv_len)
        rng = np.random.default_rng(q_len * 1000 + kv_len)
        short = [kv_len, kv_len * 2 // 3]
        match self.mask:
            case "none":
                mask, rule = None, None
            case "causal":
                mask, rule = masks.causal(), _oracle.causal()
            case "causal_offset":
                mask, rule = masks.causal(kv_len - q_len), _oracle.causal(kv_len - q_len)
            case "window":
                mask, rule = masks.sliding_window((5, 2)), _oracle.window(5, 2)
            case "padding":
                mask, rule = masks.padding(short), _oracle.spans([0, 0], short)
            case "prefix_causal":
                first = min(3, kv_len)
                mask = masks.prefix(first) | masks.causal()
                rule = _oracle.either(_oracle.spans([0], [first]), _oracle.causal())
            case "documents":
                ids, key_ids = (np.sort(rng.integers(0, 4, (2, n))) for n in (q_len, kv_len))
                mask = masks.documents(torch.from_numpy(ids), torch.from_numpy(key_ids))
                rule = _oracle.same(ids, key_ids)
            case "dense":
                allowed = rng.random((2, 1, q_len, kv_len)) < 0.6
                allowed[:, :, q_len // 2 : q_len // 2 + 1] = False  # a row that sees nothing
                mask, rule = torch.from_numpy(allowed), _oracle.cells_of(allowed)
            case _:
                bias = torch.from_numpy(rng.standard_normal((q_len, kv_len))).to(self.dtype)
                bias[torch.from_numpy(rng.random((q_len, kv_len)) < 0.4)] = -torch.inf
                return bias, _oracle.written_out(None, shape), bias
        return mask, _oracle.written_out(rule, shape), None


def pairs() -> list[Case]:
    """Few cases in which every two values of different axes meet at least once."""
    axes = list(AXES)
    missing = {
        (a, x, b, y)
        for a, b in itertools.combinations(range(len(axes)), 2)
        for x in range(len(axes[a]))
        for y in range(len(axes[b]))
    }
    chosen = []
    while missing:
        a, x, b, y = min(missing)
        pick: dict[int, int] = {a: x, b: y}
        for axis in range(len(axes)):
            if axis not in pick:
                pick[axis] = max(
                    range(len(axes[axis])), key=lambda n: (_gain(pick, axis, n, missing), -n)
                )
        missing -= {
            (one, pick[one], two, pick[two])
            for one, two in itertools.combinations(range(len(axes)), 2)
        }
        chosen.append(Case(*(axes[n][pick[n]] for n in range(len(axes)))))
    return chosen


def _gain(pick: dict[int, int], axis: int, number: int, missing: set) -> int:
    return sum(
        (min((axis, number), (other, value)) + max((axis, number), (other, value))) in missing
        for other, value in pick.items()
    )


def everything(dtype: torch.dtype, head_dim: int) -> Iterator[Case]:
    """The full product at one dtype and head dim."""
    for lengths, mask, heads in itertools.product(LENGTHS, MASKS, HEADS):
        yield Case(dtype, lengths, head_dim, mask, heads)
