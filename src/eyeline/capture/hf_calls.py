"""Hugging Face attention modules: what they were called with, and their vectors from that again.

Hooks note a module's arguments while it runs. To make query, key and value again its own forward
is called with them once more, on an attention function that takes the three and ends the call.
That is right for every architecture, as it is the architecture's code that runs.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from eyeline._compiling import outside_graphs
from eyeline.capture.borrowing import NAME, borrowed
from eyeline.capture.recipes import Recipe
from eyeline.capture.symbolic_mask import SymbolicMask

__all__ = ["give_back", "inputs_noted", "recipe_of"]

_Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
_PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device, SymbolicMask)
_MASKS = ("attention_mask", "encoder_attention_mask", "mask", "position_bias")
"""Arguments that say who sees whom: query, key and value do not depend on them."""


class _Running(threading.local):
    """The arguments of this thread's running modules, by the module's id."""

    def __init__(self) -> None:
        self.calls: dict[int, list[_Call]] = {}


_running = _Running()


@contextmanager
def inputs_noted(model: nn.Module) -> Iterator[None]:
    """While the block lasts, the arguments of running attention modules are at hand."""
    from transformers import PreTrainedModel

    # no part of a compiled graph: what they do is for us alone
    enter: Any = outside_graphs(_enter)
    leave: Any = outside_graphs(_leave)
    handles = []
    for module in model.modules():
        # what calls the attention interface has a config to choose by, and projections
        if isinstance(module, PreTrainedModel) or not hasattr(module, "config"):
            continue
        if any(True for _ in module.children()):
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _running.calls.setdefault(id(module), []).append((args, dict(kwargs)))


def _leave(module: nn.Module, _args: Any, _output: Any) -> None:
    calls = _running.calls.get(id(module), [])
    if calls:
        calls.pop()
    if not calls:
        _running.calls.pop(id(module), None)


def recipe_of(
    name: str, module: nn.Module, query: Tensor, key: Tensor, value: Tensor
) -> Recipe | str:
    """How the running module made these, from its inputs; or why that cannot be said.

    Args:
        name: What errors call the module.
        module: An attention module that runs within `inputs_noted`.
        query: What it made.
        key: What it made.
        value: What it made.
    """
    calls = _running.calls.get(id(module))
    if not calls or not hasattr(getattr(module, "config", None), "_attn_implementation"):
        return "its inputs were not seen"
    if module.training:
        return "it is in training mode, where dropout may have a say"
    if any(t.requires_grad for t in (query, key, value)):
        return "gradients are on, and an optimizer may change what they were made of"
    args, kwargs = calls[-1]
    kwargs = {n: _stand_in(v) if n == "position_bias" else v for n, v in kwargs.items()}
    inputs: list[Tensor] = []
    for label, given in (*(("", a) for a in args), *kwargs.items()):
        stranger = _gather(given, [] if label in _MASKS else inputs)
        if stranger is not None:
            return f"it was given a {type(stranger).__name__}"
    run = partial(_again, module, args, kwargs)
    return Recipe(name, module, inputs, run, (query, key, value))


def _gather(given: Any, tensors: list[Tensor]) -> Any:
    """Collect the tensors in an argument; what is neither plain nor made of tensors, if anything.

    Such an object (a cache above all) is written to while the model goes on.
    """
    if isinstance(given, Tensor):
        tensors.append(given)
    elif isinstance(given, tuple | list):
        return next((s for s in (_gather(one, tensors) for one in given) if s is not None), None)
    elif not isinstance(given, _PLAIN):
        return given
    return None


def _stand_in(bias: Tensor | None) -> Tensor | None:
    """T5 hands `[heads, q_len, kv_len]` numbers from layer to layer; kept, they would be n×n."""
    return None if bias is None else bias.new_zeros(()).expand(bias.shape)


class _Caught(BaseException):
    """Ends a module's forward with what it was about to attend with.

    No `Exception`: a model that handles those must not handle this.
    """

    def __init__(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        self.vectors = (query, key, value)


_wanted: ContextVar[nn.Module | None] = ContextVar("eyeline_wanted_module", default=None)


def give_back(module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> None:
    """End this call if the module runs only for the sake of these; else do nothing."""
    if _wanted.get() is module:
        raise _Caught(query, key, value)


def _again(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    config: Any = module.config
    token = _wanted.set(module)
    try:
        with borrowed([config]):
            config._attn_implementation_internal = NAME
            module.forward(*args, **kwargs)  # not the call: hooks have had their say in the inputs
    except _Caught as caught:
        return caught.vectors
    finally:
        _wanted.reset(token)
    raise RuntimeError(f"{type(module).__name__} did not call its attention when it was run again")
