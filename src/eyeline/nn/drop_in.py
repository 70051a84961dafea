"""A drop-in for `torch.nn.MultiheadAttention` that runs on eyeline's attention.

    torch.nn.MultiheadAttention = eyeline.nn.MultiheadAttention

Constructor, attributes, `state_dict`, arguments, masks and their polarity are torch's. What
differs: a query that may see nothing gets 0 from every head, where torch gives NaN with
`need_weights=True`; no matrix of weights is made unless it is asked for; `eyeline.watch` sees the
module.
"""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline.biases import TensorBias
from eyeline.impl import reference
from eyeline.impl._problem import Problem
from eyeline.masks import Mask
from eyeline.nn._torch_mha import project, who_may_attend
from eyeline.nn.watched import Vectors, Watched

__all__ = ["MultiheadAttention"]


class MultiheadAttention(torch.nn.MultiheadAttention, Watched):
    """`torch.nn.MultiheadAttention` on eyeline's attention; same constructor and state_dict."""

    def forward(
        self,
        query: Float[Tensor, "..."],
        key: Float[Tensor, "..."],
        value: Float[Tensor, "..."],
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As torch's.

        Args:
            query: `[L, N, E]`, `[N, L, E]` with `batch_first`, or `[L, E]`.
            key: As `query`, with `S` tokens of width `kdim`.
            value: As `query`, with `S` tokens of width `vdim`.
            key_padding_mask: `[N, S]` or `[S]`: True = ignore this key; numbers are added.
            need_weights: Give the weights too. The whole matrix is made for it.
            attn_mask: `[L, S]` or `[N · num_heads, L, S]`: True = must not attend; numbers are
                added.
            average_attn_weights: Give the mean of the heads' weights, not each.
            is_causal: A hint that `attn_mask` is the causal one.

        Returns:
            Output, and weights `[N, L, S]` (`[N, num_heads, L, S]` if not averaged) or None.
        """
        masks = {"key_padding_mask": key_padding_mask, "attn_mask": attn_mask}
        if query.is_nested or key.is_nested or value.is_nested:
            return super().forward(
                query,
                key,
                value,
                need_weights=need_weights,
                average_attn_weights=average_attn_weights,
                is_causal=is_causal,
                **masks,
            )
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask: give attn_mask with it")
        _check(self, query, key, value, masks=masks)
        vectors = project(self, query, key, value)
        # the hint replaces the mask only where torch goes by it
        trusted = is_causal and key_padding_mask is None and not need_weights
        rule, added = who_may_attend(self, attn_mask, key_padding_mask, trust_causal=trusted)
        kind = "cross" if key is not query else "decoder" if "causal(" in str(rule) else "encoder"
        dropout = self.dropout if self.training else 0.0
        output = self.attend(
            vectors,
            partial(project, self, query, key, value),
            kind,
            attn_mask=rule,
            dropout_p=dropout,
            bias=added,
        )
        weights = None
        if need_weights:
            weights = _weights(vectors, rule, added)
            if dropout > 0:  # torch gives the weights that were left, and these make the output
                weights = torch.nn.functional.dropout(weights, dropout)
                output = weights.to(output.dtype) @ vectors[2]
            weights = weights.mean(1) if average_attn_weights else weights
        output = self.out_proj(output.transpose(1, 2).flatten(2))
        if query.dim() == 2:
            return output[0], None if weights is None else weights[0]
        return output if self.batch_first else output.transpose(0, 1), weights


def _weights(
    vectors: Vectors, rule: Mask | None, added: Tensor | None
) -> Float[Tensor, "batch num_heads q_len kv_len"]:
    """The whole matrix, differentiable."""
    biases = () if added is None else (TensorBias(added),)
    scale = 1 / math.sqrt(vectors[0].shape[-1])
    weights, _ = reference.weights(Problem(*vectors, scale=scale, mask=rule, biases=biases))
    return weights.to(vectors[0].dtype)


def _check(module: MultiheadAttention, *sides: Tensor, masks: dict[str, Tensor | None]) -> None:
    """Shapes that would otherwise broadcast, or fail in words that name no argument."""
    query, key, value = sides
    widths = (module.embed_dim, module.kdim, module.vdim)
    for name, side, width in zip(("query", "key", "value"), sides, widths, strict=True):
        if side.dim() not in (2, 3) or side.dim() != query.dim():
            raise AssertionError(
                f"query, key and value must all be 2-D or all 3-D, {name} is {list(side.shape)}"
            )
        if side.shape[-1] != width:
            raise AssertionError(f"{name} must be {width} wide, got {list(side.shape)}")
    if key.shape[:-1] != value.shape[:-1]:
        raise AssertionError(
            f"key {list(key.shape)} and value {list(value.shape)} differ in length or batch"
        )
    axis = 0 if query.dim() == 2 or not module.batch_first else 1
    batch = 1 if query.dim() == 2 else query.shape[1 - axis]
    q_len, kv_len = query.shape[axis], key.shape[axis]
    wanted = {
        "key_padding_mask": [(kv_len,)] if query.dim() == 2 else [(batch, kv_len)],
        "attn_mask": [(q_len, kv_len), (batch * module.num_heads, q_len, kv_len)],
    }
    for name, mask in masks.items():
        if mask is not None and tuple(mask.shape) not in wanted[name]:
            shapes = " or ".join(str(list(shape)) for shape in wanted[name])
            raise RuntimeError(f"{name} must be {shapes}, got {list(mask.shape)}")
