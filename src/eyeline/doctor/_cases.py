"""What a candidate is asked: inputs on which every known mistake gives something else.

All sizes differ from each other, no head is as wide as there are heads, there are fewer queries
than keys, batch items differ, scores have a standard deviation between 1 and 2 (saturated softmax
hides a wrong scale), one query may see nothing. Numbers are drawn once, in float64.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Case", "Sizes", "attention_inputs", "fingerprint", "normal", "random_mask"]

LONG = 300
"""Keys of the long case: more than any block that people cut attention into."""


@dataclass(frozen=True)
class Sizes:
    """How long and wide the inputs are."""

    batch: int = 2
    num_heads: int = 3
    num_kv_heads: int = 3
    q_len: int = 5
    kv_len: int = 7
    head_dim: int = 4
    value_dim: int = 6

    def square(self) -> "Sizes":
        """As many queries as keys."""
        return replace(self, kv_len=self.q_len)

    def even(self) -> "Sizes":
        """Values as wide as keys."""
        return replace(self, value_dim=self.head_dim)


@dataclass(frozen=True)
class Case:
    """One question to a candidate.

    Attributes:
        name: What it is about, in words.
        inputs: By name, in the recipe's own terms.
        optional: A candidate that cannot do it is not wrong (lengths it was not made for).
    """

    name: str
    inputs: Mapping[str, Any] = field(repr=False)
    optional: bool = False


def normal(*shape: int, seed: int, deviation: float = 1.0) -> Tensor:
    """Normally distributed numbers, the same in every run, whatever the caller's generator."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * deviation


def random_mask(batch: int, q_len: int, kv_len: int, *, seed: int, empty: bool) -> Tensor:
    """True = may attend, [batch, 1, queries, keys]; every row sees some keys and misses some.

    A query sees the key at its own place, so that it sees something under a causal mask too. With
    `empty`, the second-last query of the first item sees nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch, 1, q_len, kv_len, generator=generator) < 0.55
    rows = torch.arange(q_len)
    own = rows % kv_len
    mask[:, :, rows, own] = True
    if kv_len > 1:
        mask[:, :, rows, (own + 1 + rows % 2) % kv_len] = False
    if empty and q_len > 2:
        mask[0, 0, -2] = False
    return mask


def attention_inputs(
    sizes: Sizes,
    *,
    seed: int = 1,
    mask: Tensor | None = None,
    is_causal: bool = False,
    bottom_right: bool = False,
    scale: float | None = None,
    deviation: float = 1.2,
    strict: bool = False,
) -> dict[str, Any]:
    """Query, key, value of these sizes, and everything that the recipe of attention reads."""
    z = sizes
    scale = 1 / math.sqrt(z.head_dim) if scale is None else scale
    # with a scale of one's own, scores keep the size that they would have had
    deviation *= 1 / math.sqrt(scale * math.sqrt(z.head_dim)) if scale > 0 else 1
    return {
        "query": normal(z.batch, z.num_heads, z.q_len, z.head_dim, seed=seed, deviation=deviation),
        "key": normal(
            z.batch, z.num_kv_heads, z.kv_len, z.head_dim, seed=seed + 1, deviation=deviation
        ),
        "value": normal(z.batch, z.num_kv_heads, z.kv_len, z.value_dim, seed=seed + 2),
        "mask": mask,
        # a key that nobody sees is padding: rows of one item are alike
        "padded": 2 if mask is not None and z.batch == 4 else 0,
        "masked_by_pair": 2 if mask is not None and z.batch != 4 else 0,
        "empty_rows": 2 if strict else 0,
        "is_causal": is_causal,
        "offset": z.kv_len - z.q_len if bottom_right else 0,
        "scale": scale,
        "batch": z.batch,
        "num_heads": z.num_heads,
        "num_kv_heads": z.num_kv_heads,
        "group": z.num_heads // z.num_kv_heads,
        "q_len": z.q_len,
        "kv_len": z.kv_len,
        "head_dim": z.head_dim,
        "embed_dim": z.num_heads * z.head_dim,
    }


def fingerprint(case: Case) -> tuple[Any, ...]:
    """The same for cases with the same inputs."""
    return tuple(
        (name, tuple(thing.shape), float(thing.double().nansum()))
        if isinstance(thing, Tensor)
        else (name, id(thing) if callable(thing) else repr(thing))
        for name, thing in sorted(case.inputs.items())
    )
