"""T5's relative positions: from the dense tensor that transformers makes back to the small table.

transformers writes the bias out as `[1, num_heads, q_len, kv_len]` in the first layer and hands it
to the others. A map that kept it would be quadratic. Where the tensor equals, bit for bit, what the
table gives by T5's rule, the map keeps the table instead.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from eyeline._types import Tile
from eyeline.biases import Bias, RelativeBias

__all__ = ["symbolic_bias"]

ROWS = 64
"""Rows that are compared at a time: the comparison must not need another n×n."""

_known: Any = WeakTensorKeyDictionary()
"""Dense bias → its rule, as long as a forward pass hands the tensor from layer to layer."""


def symbolic_bias(
    module: nn.Module, dense: Float[Tensor, "#batch num_heads q_len #kv_len"]
) -> Bias | Tensor | None:
    """The rule behind a position bias.

    Args:
        module: The attention module that was given it.
        dense: The bias as the model made it.

    Returns:
        The table, the tensor itself if no table of the module explains it, or None if it is zero.
    """
    if dense in _known:
        return _known[dense]
    if dense.grad_fn is None and not bool(dense.any()):
        return None  # cross-attention has no positions; transformers makes a tensor of zeros
    table = getattr(getattr(module, "relative_attention_bias", None), "weight", None)
    if table is None or dense.dim() != 4 or dense.shape[:2] != (1, table.shape[1]):
        return dense
    _, _, q_len, kv_len = dense.shape
    for offset in {kv_len - q_len, 0}:  # with a cache, and with one that is still empty
        rule = _rule(module, table, offset)
        if rule is not None and _equal(rule, dense):
            _known[dense] = rule
            return rule
    return dense


def _rule(module: nn.Module, table: Tensor, offset: int) -> Bias | None:
    try:
        return RelativeBias(
            table.clone(),  # the map must not change when an optimizer steps
            bidirectional=not getattr(module, "is_decoder", False),
            max_distance=getattr(module, "relative_attention_max_distance", 128),
            offset=offset,
        )
    except ValueError:  # not T5's kind of table
        return None


@torch.no_grad()
def _equal(rule: Bias, dense: Tensor) -> bool:
    whole = Tile.whole(*dense.shape)
    for start in range(0, dense.shape[2], ROWS):
        rows = slice(start, min(start + ROWS, dense.shape[2]))
        if not torch.equal(rule.tile(whole._replace(rows=rows)), dense[:, :, rows]):
            return False
    return True
