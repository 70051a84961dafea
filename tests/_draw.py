"""What Hypothesis draws: shapes, masks with their truth, biases with theirs, whole problems.

Structure is drawn, numbers come from a drawn seed: cases are cheap and shrink to small shapes.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

import _oracle
from eyeline import biases, masks
from eyeline.masks import Mask

sizes = st.integers(0, 9)
seeds = st.integers(0, 2**20)


def cases(count: int):
    """Settings of every property: the same cases on every machine, no deadline."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=True,
        suppress_health_check=quiet,
    )


@st.composite
def leaves(draw, shape) -> tuple[Mask, _oracle.Rule]:
    batch, _, q_len, kv_len = shape
    rng = np.random.default_rng(draw(seeds))
    items = draw(st.sampled_from([1, batch]))
    offset = draw(st.integers(-3, 6))
    kinds = ["causal", "window", "prefix", "padding", "keys", "documents", "dense", "predicate"]
    match draw(st.sampled_from(kinds)):
        case "causal":
            return masks.causal(offset), _oracle.causal(offset)
        case "window":
            left, right = draw(st.integers(-1, 4)), draw(st.integers(-1, 4))
            mask = masks.sliding_window((left, right), offset)
            if right == 0 and left >= 0 and draw(st.booleans()):
                mask = masks.sliding_window(left + 1, offset)
            return mask, _oracle.window(left, right, offset)
        case "prefix":
            length = draw(st.integers(0, kv_len))
            return masks.prefix(length), _oracle.spans([0], [length])
        case "padding":
            starts = rng.integers(0, kv_len + 1, items)
            lengths = np.array([rng.integers(0, kv_len - s + 1) for s in starts])
            mask = masks.padding(torch.from_numpy(lengths), torch.from_numpy(starts))
            return mask, _oracle.spans(starts, starts + lengths)
        case "keys":
            keep = rng.random((items, kv_len)) < 0.6
            return masks.keys(torch.from_numpy(keep)), _oracle.kept(keep)
        case "documents":
            ids, key_ids = (rng.integers(0, 3, (items, n)) for n in (q_len, kv_len))
            if draw(st.booleans()):
                ids.sort()
                key_ids.sort()
            mask = masks.documents(torch.from_numpy(ids), torch.from_numpy(key_ids))
            return mask, _oracle.same(ids, key_ids)
        case "dense":
            wide = [n if draw(st.booleans()) else 1 for n in shape]
            allowed = rng.random(wide) < draw(st.sampled_from([0.0, 0.5, 0.8, 1.0]))
            return masks.dense(torch.from_numpy(allowed)), _oracle.cells_of(allowed)
        case _:
            modulus = draw(st.integers(2, 4))

            def rule(b, h, i, j):
                return (2 * b + h + i + j) % modulus != 0

            return masks.predicate(rule), rule


@st.composite
def masks_and_rules(draw, shape, depth: int = 2) -> tuple[Mask, _oracle.Rule]:
    join = draw(st.sampled_from(["leaf", "&", "|", "~"])) if depth else "leaf"
    if join == "leaf":
        return draw(leaves(shape))
    mask, rule = draw(masks_and_rules(shape, depth - 1))
    if join == "~":
        return ~mask, _oracle.opposite(rule)
    other, other_rule = draw(masks_and_rules(shape, depth - 1))
    if join == "&":
        return mask & other, _oracle.both(rule, other_rule)
    return mask | other, _oracle.either(rule, other_rule)


@dataclass
class Drawn:
    """A call of `attention` and the truth about it."""

    tensors: list[Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    tiny: bool = False

    def __repr__(self) -> str:
        shapes = [tuple(t.shape) for t in self.tensors]
        options = {k: str(v) if k in ("attn_mask", "bias") else v for k, v in self.options.items()}
        return f"Drawn({shapes}, {options}, tiny={self.tiny})"

    def solve(self, *tensors: Tensor, **more) -> _oracle.Answer:
        return _oracle.solve(*(tensors or self.tensors[:3]), **self.truth, **more)


@st.composite
def tensor_biases(draw, shape, dtype):
    wide = [n if draw(st.booleans()) else 1 for n in shape][draw(st.integers(0, 3)) :]
    values = torch.randn(wide, generator=torch.Generator().manual_seed(draw(seeds))).to(dtype)
    if draw(st.booleans()):
        values[values > 0.8] = -torch.inf
    return values, values


@st.composite
def symbolic_biases(draw, shape, dtype):
    generator = torch.Generator().manual_seed(draw(seeds))
    offset = draw(st.integers(-2, 5))
    if draw(st.booleans()):
        slopes = torch.rand(shape[1], generator=generator).to(dtype)
        return biases.Alibi(slopes, offset), _oracle.alibi(slopes, shape, offset)
    table = torch.randn(draw(st.sampled_from([4, 8])), shape[1], generator=generator).to(dtype)
    how = {"bidirectional": draw(st.booleans()), "max_distance": draw(st.sampled_from([6, 20]))}
    truth = _oracle.relative(table, shape, offset=offset, **how)
    return biases.RelativeBias(table, offset=offset, **how), truth


@st.composite
def problems(draw, dtype=torch.float64, length=sizes) -> Drawn:
    batch, kv_heads, group = draw(st.tuples(*[st.integers(1, 2)] * 2, st.integers(1, 3)))
    shape = (batch, kv_heads * group, draw(length), draw(length))
    width, value_width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(seeds))
    layout = [
        *[(shape[1], shape[2], width), (kv_heads, shape[3], width)],
        *[(kv_heads, shape[3], value_width), (shape[1], shape[2], value_width)],
    ]
    tensors = [torch.randn(batch, *s, generator=generator).to(dtype) for s in layout]
    drawn = Drawn(tensors, {"enable_gqa": True}, {}, shape, draw(st.booleans()))
    if draw(st.integers(0, 3)):
        mask, rule = draw(masks_and_rules(shape))
        drawn.options["attn_mask"] = mask
        drawn.truth["allowed"] = _oracle.written_out(rule, shape)
    if draw(st.integers(0, 2)) == 0:
        kinds = [tensor_biases(shape, dtype)]
        if min(shape) > 0:  # length 0 has its own test (test_biases)
            kinds.append(symbolic_biases(shape, dtype))
        drawn.options["bias"], drawn.truth["bias"] = draw(st.one_of(kinds))
    extras = {
        "softcap": st.sampled_from([0.5, 2.0, 30.0]),
        "scale": st.sampled_from([-0.5, 1.0, 2.0]),
        "sinks": st.just(torch.randn(shape[1], generator=generator).to(dtype)),
    }
    for name, values in extras.items():
        if draw(st.integers(0, 2)) == 0:
            drawn.options[name] = drawn.truth[name] = draw(values)
    return drawn
