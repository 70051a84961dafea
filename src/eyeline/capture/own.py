"""eyeline's own attention modules: they hand every call over by themselves.

A module of `eyeline.nn` attends through its observer, if it has one. That is told query, key and
value, how they are made again, and what else `attention` takes: a map is made of just that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from eyeline._compiling import outside_graphs
from eyeline.capture.editing import is_cut, narrowed
from eyeline.capture.recipes import Recipe
from eyeline.capture.recording import measure_for, slots_for
from eyeline.functional import attention, observe
from eyeline.nn import MultiheadAttention, Watched
from eyeline.nn.watched import Kind, Vectors

__all__ = ["listening", "watched_modules"]


def watched_modules(model: nn.Module) -> list[Watched]:
    """Every module of a model whose attention eyeline computes."""
    return [m for m in model.modules() if isinstance(m, Watched)]


@contextmanager
def listening(module: Watched) -> Iterator[None]:
    """Record the module's calls while the block lasts."""
    # it looks for watchers and reads version counters: no part of a compiled graph
    observer: Any = outside_graphs(_observe)
    module.observers = (*module.observers, observer)
    # a torch.nn.TransformerEncoderLayer leaves out a module without hooks, and fuses all of it
    needs_hook = isinstance(module, MultiheadAttention)
    handle = module.register_forward_hook(_nothing) if needs_hook else None
    try:
        yield
    finally:
        module.observers = module.observers[:-1]
        if handle is not None:
            handle.remove()


def _nothing(*_: object) -> None:
    return None


def _observe(
    module: nn.Module,
    vectors: Vectors,
    again: Callable[[], Vectors] | str,
    kind: Kind,
    call: dict[str, Any],
) -> Tensor:
    if is_cut():
        query, key, _ = vectors
        shape = (query.shape[1], query.shape[2], key.shape[2])
        call = call | {"attn_mask": narrowed(module, call.get("attn_mask"), shape)}
    slots = slots_for(module, causal=kind == "decoder", cross=kind == "cross")
    if not slots:
        return attention(*vectors, **call)
    output, seen = observe(*vectors, **call, measure=measure_for(slots))
    recipe: Recipe | str = ""
    if any(slot.wants_recipe for slot in slots):
        recipe = _recipe(slots[0].name, module, vectors, again)
    for slot in slots:
        slot.keep(seen, output, recipe, shared=True)
    return output


def _recipe(
    name: str, module: nn.Module, made: Vectors, again: Callable[[], Vectors] | str
) -> Recipe | str:
    if isinstance(again, str):
        return again
    if module.training:
        return "it is in training mode, where parameters change"
    if any(t.requires_grad for t in made):
        return "gradients are on, and an optimizer may change what they were made of"
    assert isinstance(again, partial), "what makes the vectors again names its inputs"
    inputs = [t for t in _tensors(again.args) if not isinstance(t, nn.Module)]
    return Recipe(name, module, inputs, again, made)


def _tensors(given: Any) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, tuple):
        for one in given:
            yield from _tensors(one)
