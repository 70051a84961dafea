"""What a `torch.nn.MultiheadAttention` means by its parameters and masks, in this house's terms.

Its masks say the opposite of ours: True = must not attend. They are inverted here and nowhere else.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eyeline import masks
from eyeline.masks import Mask
from eyeline.nn.watched import Vectors

__all__ = ["project", "who_may_attend"]


def project(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Vectors:
    """`[batch, num_heads, length, head_dim]` of each, appended keys and values included."""
    if module.in_proj_weight is not None:
        weights = module.in_proj_weight.chunk(3)
    else:
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    result = []
    appended = (None, module.bias_k, module.bias_v)
    sides = (query, key, value)
    for side, weight, bias, extra in zip(sides, weights, biases, appended, strict=True):
        side = _batch_first(module, side)
        x = torch.nn.functional.linear(side, weight, bias)
        if extra is not None:  # a learned key and value behind the text's own
            x = torch.cat([x, extra.to(x.dtype).expand(x.shape[0], 1, -1)], dim=1)
        x = x.unflatten(-1, (module.num_heads, module.head_dim)).transpose(1, 2)
        if module.add_zero_attn and result:
            x = torch.nn.functional.pad(x, (0, 0, 0, 1))
        result.append(x)
    return result[0], result[1], result[2]


def _batch_first(module: nn.MultiheadAttention, side: Tensor) -> Tensor:
    if side.dim() == 2:
        return side[None]
    return side if module.batch_first else side.transpose(0, 1)


def who_may_attend(
    module: nn.MultiheadAttention,
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    *,
    trust_causal: bool,
) -> tuple[Mask | None, Float[Tensor, "..."] | None]:
    """What the module's masks allow, and what they add to the scores.

    Args:
        module: The module.
        attn_mask: `[q_len, kv_len]` or `[batch · num_heads, q_len, kv_len]`; True = must not
            attend; numbers are added.
        key_padding_mask: `[batch, kv_len]`, or without the batch; True = ignore; numbers are added.
        trust_causal: `attn_mask` is said to be the causal one; it is not looked at.
    """
    appended = int(module.bias_k is not None) + int(module.add_zero_attn)
    rule: Mask | None = None
    added: Tensor | None = None
    if attn_mask is not None:
        rule, added = (masks.causal(), None) if trust_causal else _who(module, attn_mask, appended)
    if key_padding_mask is not None:
        ignored = key_padding_mask.reshape(-1, key_padding_mask.shape[-1])
        ignored = torch.nn.functional.pad(ignored, (0, appended))
        if ignored.dtype == torch.bool:
            real = masks.keys(~ignored)
            rule = real if rule is None else rule & real
        else:
            more = ignored[:, None, None]
            added = more if added is None else added + more
    return rule, added


def _who(
    module: nn.MultiheadAttention, attn_mask: Tensor, appended: int
) -> tuple[Mask | None, Tensor | None]:
    """An `attn_mask` as a rule, or as what it adds where it holds other numbers than 0 and -inf."""
    if attn_mask.dim() == 3:  # [batch · num_heads, q_len, kv_len]
        attn_mask = attn_mask.unflatten(0, (-1, module.num_heads))
    blocked = attn_mask
    if attn_mask.is_floating_point():
        blocked = attn_mask == -torch.inf
        if attn_mask.requires_grad or bool(((attn_mask != 0) & ~blocked).any()):
            return None, torch.nn.functional.pad(attn_mask, (0, appended))
    if attn_mask.dim() == 2 and not appended:
        future = torch.ones_like(blocked, dtype=torch.bool).triu(1)
        if torch.equal(blocked, future):
            return masks.causal(), None
    return masks.dense(~torch.nn.functional.pad(blocked, (0, appended))), None
