"""Being told of every layer that a network enters: for progress, and to stop between two layers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from torch import nn

__all__ = ["Tick", "paced"]

Tick: TypeAlias = Callable[[int, int], None]
"""Called with how many layers are done and how many there are; it may raise to stop the network."""


@contextmanager
def paced(network: nn.Module, tick: Tick | None) -> Iterator[None]:
    """While the block lasts, `tick` is called before each layer that this thread runs.

    Layers are the members of the outermost `ModuleList`s, encoder and decoder alike.
    """
    if tick is None:
        yield
        return
    layers = list(_layers(network))
    thread, done = threading.get_ident(), 0

    def enter(_module: nn.Module, _args: object) -> None:
        nonlocal done
        if threading.get_ident() == thread:
            tick(min(done, len(layers)), len(layers))
            done += 1

    handles = [layer.register_forward_pre_hook(enter) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _layers(child)
