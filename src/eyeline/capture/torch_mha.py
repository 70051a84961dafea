"""`torch.nn.MultiheadAttention`: maps from the inputs of modules that run their own code.

The module's forward stays untouched, so its output is the same to the last bit; a hook behind it
repeats the projections and observes. Its masks say the opposite of ours: True = must not attend.
"""

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from eyeline import masks
from eyeline.capture.recipes import Recipe
from eyeline.capture.recording import measure_for, slots_for
from eyeline.functional import observe
from eyeline.masks import Mask
from eyeline.nn import Watched
from eyeline.nn._torch_mha import project, who_may_attend

__all__ = ["attention_modules", "listen"]


def attention_modules(model: nn.Module) -> list[nn.MultiheadAttention]:
    """Every `nn.MultiheadAttention` of a model that is torch's own and not our drop-in."""
    found = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention))
    return [m for m in found if not isinstance(m, Watched)]


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
    ignored = given["key_padding_mask"]
    # the hint replaces the mask only where torch goes by it
    trusted = given["is_causal"] and ignored is None and not given["need_weights"]
    mask, bias = who_may_attend(module, given["attn_mask"], ignored, trust_causal=trusted)
    slots = slots_for(module, causal=_is_causal(mask), cross=key is not query)
    if not slots:
        return
    if query.is_nested:
        (query, key, value), mask = _unnested(query, key, value)
    parts = project(module, query, key, value)
    output, seen = observe(*parts, attn_mask=mask, bias=bias, measure=measure_for(slots))
    seen = seen.detach()  # a map that is kept must not keep the graph of a training step
    recipe: Recipe | str = ""
    if any(slot.wants_recipe for slot in slots):
        if module.training or result[0].requires_grad:
            recipe = "it is being trained, which changes what they were made of"
        else:
            sides = (query, key, value)
            recipe = Recipe(slots[0].name, module, sides, partial(project, module, *sides), parts)
    for slot in slots:
        slot.keep(seen, output, recipe)


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
