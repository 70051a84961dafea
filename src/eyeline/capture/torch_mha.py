"""`torch.nn.MultiheadAttention`: maps from the inputs of modules that run their own code.

The module's forward stays untouched, so its output is the same to the last bit; a hook behind it
repeats the projections and observes. Its masks say the opposite of ours: True = must not attend.
"""

import inspect
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from eyeline import masks
from eyeline.capture.recipes import Recipe
from eyeline.capture.recording import measure_for, slots_for
from eyeline.functional import observe
from eyeline.masks import Mask

__all__ = ["attention_modules", "listen"]


def attention_modules(model: nn.Module) -> list[nn.MultiheadAttention]:
    """Every `nn.MultiheadAttention` of a model."""
    return [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]


def listen(module: nn.MultiheadAttention) -> RemovableHandle:
    """Record the module's calls until the handle is removed.

    A hook also keeps `nn.TransformerEncoderLayer` from its fused path, which would bypass the
    module: the layer looks for hooks of any of its modules.
    """
    return module.register_forward_hook(_heard, with_kwargs=True)


@torch.no_grad()
def _heard(
    module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    call = inspect.signature(nn.MultiheadAttention.forward).bind(module, *args, **kwargs)
    call.apply_defaults()
    given = call.arguments
    query, key, value = given["query"], given["key"], given["value"]
    mask, bias = _masks(module, given)
    slots = slots_for(module, causal=_is_causal(mask), cross=key is not query)
    if not slots:
        return
    if query.is_nested:
        (query, key, value), mask = _unnested(query, key, value)
    parts = _project(module, query, key, value)
    output, seen = observe(*parts, attn_mask=mask, bias=bias, measure=measure_for(slots))
    seen = seen.detach()  # a map that is kept must not keep the graph of a training step
    recipe: Recipe | str = ""
    if any(slot.wants_recipe for slot in slots):
        if module.training or result[0].requires_grad:
            recipe = "it is being trained, which changes what they were made of"
        else:
            sides = (query, key, value)
            recipe = Recipe(slots[0].name, module, sides, partial(_project, module, *sides), parts)
    for slot in slots:
        slot.keep(seen, output, recipe)


def _project(
    module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
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


def _masks(
    module: nn.MultiheadAttention, given: dict[str, Any]
) -> tuple[Mask | None, Float[Tensor, "..."] | None]:
    """What the module's masks allow, and what they add to the scores."""
    appended = int(module.bias_k is not None) + int(module.add_zero_attn)
    rule: Mask | None = None
    added: Tensor | None = None
    attn_mask, ignored = given["attn_mask"], given["key_padding_mask"]
    if attn_mask is not None:
        # the hint replaces the mask only where torch goes by it
        trusted = given["is_causal"] and ignored is None and not given["need_weights"]
        rule, added = (masks.causal(), None) if trusted else _who(module, attn_mask, appended)
    if ignored is not None:
        ignored = torch.nn.functional.pad(ignored.reshape(-1, ignored.shape[-1]), (0, appended))
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
        if bool(((attn_mask != 0) & ~blocked).any()):
            return None, torch.nn.functional.pad(attn_mask, (0, appended))
    if attn_mask.dim() == 2 and not appended:
        future = torch.ones_like(blocked, dtype=torch.bool).triu(1)
        if torch.equal(blocked, future):
            return masks.causal(), None
    return masks.dense(~torch.nn.functional.pad(blocked, (0, appended))), None


def _is_causal(mask: Mask | None) -> bool:
    return mask is not None and "causal(" in str(mask)


def _unnested(*nested: Tensor) -> tuple[list[Tensor], Mask]:
    """Padded tensors, and the mask that leaves only what was there.

    `nn.TransformerEncoder` nests padded input in evaluation mode. Its maps are as long as the
    longest text; rows that do not exist see nothing.
    """
    lengths = torch.tensor([len(text) for text in nested[0].unbind()])
    padded = [torch.nested.to_padded_tensor(side, 0.0) for side in nested]
    is_text = torch.arange(padded[0].shape[1]) < lengths[:, None]
    real = is_text.to(padded[0].device)
    return padded, masks.documents(real.long(), real.long()) & masks.keys(real)
