"""One attention call in canonical form: what every implementation receives."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline._types import Tile
from eyeline.biases import Bias
from eyeline.masks import Mask


@dataclass(frozen=True, eq=False)
class Problem:
    """`softmax(softcap(scale * Q K^T) + bias, where mask) V`, with everything checked and 4-D.

    Query head h reads key/value head `h // group`.
    """

    query: Float[Tensor, "batch num_heads q_len head_dim"]
    key: Float[Tensor, "batch num_kv_heads kv_len head_dim"]
    value: Float[Tensor, "batch num_kv_heads kv_len value_dim"]
    scale: float
    mask: Mask | None = None
    biases: tuple[Bias, ...] = ()
    softcap: float | None = None
    sinks: Float[Tensor, " num_heads"] | None = None
    dropout_p: float = 0.0
    dropout_seed: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(batch, num_heads, q_len, kv_len)`: the shape of the weights."""
        batch, num_heads, q_len, _ = self.query.shape
        return batch, num_heads, q_len, self.key.shape[2]

    @property
    def group(self) -> int:
        """How many query heads share one key/value head (1 = multi-head attention)."""
        return self.query.shape[1] // max(self.key.shape[1], 1)

    @property
    def compute_dtype(self) -> torch.dtype:
        """Half precision is computed in float32, everything else in its own precision."""
        half = self.query.dtype in (torch.float16, torch.bfloat16)
        return torch.float32 if half else self.query.dtype

    @property
    def differentiable(self) -> tuple[Tensor, ...]:
        """Every tensor that may take a gradient, in a fixed order."""
        sinks = () if self.sinks is None else (self.sinks,)
        return (self.query, self.key, self.value, *(b.parameter for b in self.biases), *sinks)

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> "Problem":
        """The same problem with its `differentiable` tensors replaced."""
        query, key, value, *rest = tensors
        biases = tuple(b.replace(t) for b, t in zip(self.biases, rest, strict=False))
        sinks = None if self.sinks is None else rest[-1]
        return replace(self, query=query, key=key, value=value, biases=biases, sinks=sinks)

    def detached(self) -> "Problem":
        """The same problem outside of any autograd graph."""
        return self.with_tensors(tuple(t.detach() for t in self.differentiable))

    def without_values(self) -> "Problem":
        """The same weights, before dropout, of values that are 0 wide: for numbers of the rows."""
        return replace(self, value=self.key.detach()[..., :0], dropout_p=0.0)

    def whole(self) -> Tile:
        """The tile that covers all of the weights."""
        return Tile.whole(*self.shape)
