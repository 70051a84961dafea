"""Special values: how the numerics contract N2 and N3 is kept at no cost to ordinary inputs.

`find_hazards` looks once at the extremes of the inputs, O(n·d). Ordinary inputs, whose scores
cannot overflow, give None and the arithmetic runs as it is. Otherwise non-finite inputs are set to
zero (so that `0 · NaN` cannot leak out of a masked position), and rows that really see one of
them, or whose own scores overflow, are set to NaN afterwards.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from eyeline._types import Tile
from eyeline.impl._problem import Problem
from eyeline.impl._transforms import unwrapped


@dataclass(frozen=True, eq=False)
class Hazards:
    """Which queries and keys hold a non-finite number, and what values must be multiplied by.

    `shrink` is a power of two: with it a sum of values that is not divided by its weights yet
    cannot overflow, and no digit is lost when the mean is multiplied back.
    """

    bad_query: Bool[Tensor, "batch num_heads q_len"]
    bad_key: Bool[Tensor, "batch num_kv_heads kv_len"]
    group: int
    shrink: float = 1.0

    def bad_cells(self, tile: Tile, live: Tensor, scores: Tensor) -> Tensor:
        """Live cells whose query, key, value or score is not finite, as wide as the tile."""
        kv_heads = slice(tile.heads.start // self.group, -(-tile.heads.stop // self.group))
        keys = self.bad_key[tile.batch, kv_heads, tile.cols].repeat_interleave(self.group, 1)
        queries = self.bad_query[tile.batch, tile.heads, tile.rows]
        return live & (queries[..., None] | keys[:, :, None] | ~torch.isfinite(scores))


def find_hazards(
    problem: Problem, output_gradient: Tensor | None = None, *, use_value: bool = True
) -> tuple[Problem, Hazards | None]:
    """The problem with non-finite inputs zeroed, and where they were; None if nothing can go wrong.

    Args:
        problem: The attention call.
        output_gradient: In a backward pass: joins in the overflow bound.
        use_value: False when only the weights are asked for: values then do not matter.
    """
    query, key, value = problem.query, problem.key, problem.value
    limit = torch.finfo(problem.compute_dtype).max / 4
    q, k, v = _magnitude(query), _magnitude(key), _magnitude(value) if use_value else 0.0
    d = 0.0 if output_gradient is None else _magnitude(output_gradient)
    largest_score = abs(problem.scale) * max(q * k, q, k) * max(query.shape[-1], 1)
    kv_len = max(key.shape[2], 1)
    largest_output = v * max(problem.value.shape[-1] * d, kv_len)
    # written so that a NaN magnitude fails it
    if largest_score < limit and largest_output < limit:
        return problem, None

    finite_q, finite_k = torch.isfinite(query), torch.isfinite(key)
    bad_key = ~finite_k.all(-1)
    clean = replace(problem, query=_zeroed(query, finite_q), key=_zeroed(key, finite_k))
    shrink = 1.0
    if use_value:
        finite_v = torch.isfinite(value)
        bad_key = bad_key | ~finite_v.all(-1)
        clean = replace(clean, value=_zeroed(value, finite_v))
        if output_gradient is None and _magnitude(clean.value) * kv_len >= limit:
            shrink = 2.0 ** -(math.ceil(math.log2(kv_len)) + 2)
    bad_query = ~finite_q.all(-1)
    if not torch.isfinite(torch.tensor(problem.scale)):
        bad_query = torch.ones_like(bad_query)
    return clean, Hazards(bad_query, bad_key, problem.group, shrink)


class _ZeroWhereBad(torch.autograd.Function):
    """Zero in the forward pass, invisible in the backward pass: a NaN gradient must stay NaN."""

    generate_vmap_rule = True

    @staticmethod
    def forward(tensor: Tensor, good: Tensor) -> Tensor:
        return tensor.where(good, 0)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def jvp(ctx, tangent: Tensor, _good: None) -> Tensor:
        return tangent

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient, None


def _zeroed(tensor: Tensor, good: Tensor) -> Tensor:
    return _ZeroWhereBad.apply(tensor, good)


def _magnitude(tensor: Tensor) -> float:
    """The largest absolute value; NaN or inf if there is one."""
    tensor = unwrapped(tensor)  # a branch depends on it, and vmap cannot take two
    if tensor.numel() == 0:
        return 0.0
    low, high = torch.aminmax(tensor.detach())
    return float(torch.maximum(low.abs(), high.abs()))
