"""Hugging Face models: our attention and mask function under the name "eyeline", for a while.

Every model that goes through `AttentionInterface` calls `attention_forward` once per attention,
with projected, rotated and cached queries, keys and values: exactly what a map is made of.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eyeline._compiling import outside_graphs
from eyeline.biases import Bias
from eyeline.capture.borrowing import NAME, borrowed
from eyeline.capture.editing import narrowed
from eyeline.capture.hf_biases import symbolic_bias
from eyeline.capture.hf_calls import give_back, inputs_noted, recipe_of
from eyeline.capture.recipes import Recipe
from eyeline.capture.recording import measure_for, slots_for
from eyeline.capture.records import UnsupportedModel
from eyeline.capture.symbolic_mask import SymbolicMask, make_mask
from eyeline.functional import attention, observe
from eyeline.maps import AttentionMap

__all__ = ["attention_forward", "installed", "pretrained_models", "refusal"]


@outside_graphs  # it looks for watchers and reads version counters; a graph break is right
def attention_forward(
    module: nn.Module,
    query: Float[Tensor, "batch num_heads q_len head_dim"],
    key: Float[Tensor, "batch num_kv_heads kv_len head_dim"],
    value: Float[Tensor, "batch num_kv_heads kv_len value_dim"],
    attention_mask: SymbolicMask | Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    s_aux: Float[Tensor, " num_heads"] | None = None,
    position_bias: Float[Tensor, "#batch num_heads q_len kv_len"] | None = None,
    cache: object | None = None,
    **_unused: Any,
) -> tuple[Float[Tensor, "batch q_len num_heads value_dim"], AttentionMap | None]:
    """The attention interface's function.

    Args:
        module: The attention module that calls.
        query: Already rotated where the model does that.
        key: Not repeated for the query heads of a group.
        value: As `key`.
        attention_mask: What `make_mask` made; or the user's own 4-D tensor, bool (True = may
            attend) or float (added); or None, and `is_causal` decides.
        dropout: Probability; models pass 0 when they are not training.
        scaling: Multiplies the scores.
        is_causal: Default: what the module says. Counts only without a mask and for several
            queries, and then from the top left: a single decoding query sees every key.
        softcap: Gemma 2's `attn_logit_softcapping`.
        s_aux: GPT-OSS's sinks.
        position_bias: T5's relative positions, added to the scores.
        cache: Only continuous batching passes one.

    Returns:
        The output, and the map if somebody watches this layer. Models hand the second element on
        as `attentions` when they are asked for `output_attentions=True`.
    """
    if cache is not None:
        raise UnsupportedModel(
            f"{type(module).__name__}: continuous batching (a paged cache) cannot be watched; "
            "use generate() or a plain forward pass"
        )
    query, key, value = _autocast(query, key, value)
    give_back(module, query, key, value)
    if is_causal is None:
        is_causal = bool(getattr(module, "is_causal", True))
    slots = slots_for(module, causal=is_causal)
    recipe: Recipe | str = ""
    if any(slot.wants_recipe for slot in slots):
        recipe = recipe_of(slots[0].name, module, query, key, value)
    if slots:  # the map must stay true when a cache is overwritten or an optimizer steps
        if any(slot.keeps_vectors(recipe) for slot in slots):
            key, value = _own_copy(key), _own_copy(value)
        s_aux = None if s_aux is None else s_aux.clone()
    mask: Any = attention_mask
    if isinstance(attention_mask, SymbolicMask):
        mask = attention_mask.rule
        _check_mask(attention_mask, query, key)
    mask = narrowed(module, mask, (query.shape[1], query.shape[2], key.shape[2]))
    bias: Tensor | Bias | None = None
    if position_bias is not None:
        bias = symbolic_bias(module, position_bias)
    call: dict[str, Any] = {
        "attn_mask": mask,
        "dropout_p": dropout,
        "is_causal": is_causal and attention_mask is None and query.shape[2] > 1,
        "scale": scaling,
        "enable_gqa": query.shape[1] != key.shape[1],
        "bias": bias,
        "softcap": softcap,
        "sinks": s_aux,
    }
    if not slots:
        return attention(query, key, value, **call).transpose(1, 2).contiguous(), None
    output, seen = observe(query, key, value, **call, measure=measure_for(slots))
    seen = seen.detach()  # a map that is kept must not keep the graph of a training step
    kept = [slot.keep(seen, output, recipe) for slot in slots]
    return output.transpose(1, 2).contiguous(), kept[-1]


def _autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Under autocast, matrix products take the lower dtype; SDPA does so by itself."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t if t.dtype == torch.float64 else t.to(dtype) for t in tensors)


def _own_copy(tensor: Tensor) -> Tensor:
    """A copy if the tensor lives in a buffer that is written in place, as a static cache's does.

    Such a buffer has been written by now, and torch counts that. A dynamic cache makes new tensors.
    Under `inference_mode` nothing is counted, so everything is copied.
    """
    return tensor.clone() if tensor.is_inference() or tensor._version > 0 else tensor


def _check_mask(mask: SymbolicMask, query: Tensor, key: Tensor) -> None:
    expected = (query.shape[2], key.shape[2])
    if tuple(mask.shape[2:]) != expected:
        raise ValueError(
            f"the model made a mask for {list(mask.shape[2:])} queries and keys, "
            f"its attention has {list(expected)}"
        )


def pretrained_models(model: nn.Module) -> list[Any]:
    """The outermost `PreTrainedModel`s in a model; none if transformers was never imported."""
    if "transformers" not in sys.modules:
        return []
    from transformers import PreTrainedModel

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        if isinstance(module, PreTrainedModel):
            yield module
        else:
            for child in module.children():
                yield from walk(child)

    return list(walk(model))


def refusal(model: Any) -> str | None:
    """Why a `PreTrainedModel` cannot be watched, or None; warns of parts that cannot."""
    if not model._can_set_attn_implementation():
        return (
            f"{type(model).__name__} computes attention in its own code, not through transformers' "
            "AttentionInterface: it cannot be watched"
        )
    from transformers import PreTrainedModel

    parts = (m for m in model.modules() if isinstance(m, PreTrainedModel))
    deaf = {type(m).__name__ for m in parts if not m._can_set_attn_implementation()}
    if deaf:
        warnings.warn(
            f"these parts of {type(model).__name__} do not go through transformers' "
            f"AttentionInterface and will have no maps: {', '.join(sorted(deaf))}",
            stacklevel=5,
        )
    return None


@contextmanager
def installed(model: Any, *, note_inputs: bool = False) -> Iterator[None]:
    """The model uses our attention while the block lasts; every config gets its own back.

    Args:
        model: A `PreTrainedModel`.
        note_inputs: Whether maps are to be made from its attention modules' inputs.
    """
    with ExitStack() as stack:
        _register()
        stack.enter_context(borrowed(list(_configs(model))))
        if note_inputs:
            stack.enter_context(inputs_noted(model))
        model.set_attn_implementation(NAME)
        yield


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, make_mask)


def _configs(model: nn.Module) -> Iterator[Any]:
    """Every config in the model once: of its parts, and nested in these at any depth."""
    from transformers import PreTrainedConfig

    waiting = [getattr(m, "config", None) for m in model.modules()]
    met: set[int] = set()
    while waiting:
        config = waiting.pop(0)
        if isinstance(config, PreTrainedConfig) and id(config) not in met:
            met.add(id(config))
            yield config
            waiting += [getattr(config, name, None) for name in config.sub_configs]
