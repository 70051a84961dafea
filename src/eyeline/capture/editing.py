"""Taking something out of a running model: an edge from its attention, a head from its output."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eyeline import masks
from eyeline._types import Tile
from eyeline.capture.projections import Projections
from eyeline.masks import Mask

__all__ = ["Edge", "edges_cut", "heads_silenced", "is_cut", "narrowed"]


@dataclass(frozen=True)
class Edge:
    """One cell of the weights: in this head, from this query to this key."""

    head: int
    query: int
    key: int


_cut: ContextVar[dict[tuple[int, int], Mask] | None] = ContextVar("eyeline_cut", default=None)
"""(id of the attention module, which of its calls) → who may still look where."""

_calls: ContextVar[dict[int, int] | None] = ContextVar("eyeline_calls", default=None)


@contextmanager
def edges_cut(edges: dict[tuple[nn.Module, int], Sequence[Edge]]) -> Iterator[None]:
    """While the block lasts, these queries may not attend to these keys; the rest shares the mass.

    Args:
        edges: Attention module and which of its calls in a pass, from 0 → what is cut there.
    """
    rules = {(id(module), call): _without(cut) for (module, call), cut in edges.items()}
    cut_token, calls_token = _cut.set(rules), _calls.set({})
    try:
        yield
    finally:
        _cut.reset(cut_token)
        _calls.reset(calls_token)


def is_cut() -> bool:
    """Whether this thread is inside of `edges_cut`."""
    return _cut.get() is not None


def narrowed(
    module: nn.Module, mask: Mask | Tensor | None, shape: tuple[int, int, int]
) -> Mask | Tensor | None:
    """The mask of a module's call without the edges that are cut there.

    Args:
        module: The attention module.
        mask: Its mask; numbers are added to the scores.
        shape: Heads, queries and keys of the call.
    """
    rules, calls = _cut.get(), _calls.get()
    if rules is None or calls is None:
        return mask
    call = calls.get(id(module), 0)
    calls[id(module)] = call + 1
    rule = rules.get((id(module), call))
    if rule is None:
        return mask
    if isinstance(mask, Tensor):
        if mask.dtype.is_floating_point:  # numbers that are added: -inf is a cut
            spans = (slice(0, length) for length in (1, *shape))
            return torch.where(rule.tile(Tile(*spans), mask.device), mask, -torch.inf)
        return masks.dense(mask) & rule
    return rule if mask is None else mask & rule


@contextmanager
def heads_silenced(
    parts: Projections, attention: nn.Module, heads: Sequence[int], num_heads: int, call: int = 0
) -> Iterator[None]:
    """While the block lasts, these heads give 0 to W_O.

    Args:
        parts: The projections of `attention`.
        attention: The attention module.
        heads: Numbers of the heads.
        num_heads: How many heads there are.
        call: Which call of the module in a pass, from 0.
    """
    calls = -1

    def on_attention(_module: nn.Module, _args: tuple, _kwargs: dict) -> None:
        nonlocal calls
        calls += 1

    def on_output(_module: nn.Module, args: tuple) -> tuple | None:
        if calls != call:
            return None
        concat = args[0].clone()
        each = concat.unflatten(-1, (num_heads, -1))  # a view: the zeros land in `concat`
        each[..., list(heads), :] = 0
        return (concat, *args[1:])

    handles = [
        attention.register_forward_pre_hook(on_attention, with_kwargs=True),
        parts.output.module.register_forward_pre_hook(on_output),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _without(edges: Sequence[Edge]) -> Mask:
    rule: Mask | None = None
    for edge in edges:
        one = masks.predicate(
            lambda b, h, q, k, e=edge: ~((h == e.head) & (q == e.query) & (k == e.key))
        )
        rule = one if rule is None else rule & one
    assert rule is not None
    return rule
