"""Whose attention a Hugging Face model runs on: ours for a while, then its own again."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["NAME", "borrowed"]

NAME = "eyeline"
"""Ours among the attention implementations. It must not contain "flash", "sdpa" or "flex"."""

_lock = threading.RLock()
_borrowed: dict[int, tuple[Any, str | None, int]] = {}
"""id(config) → the config, its implementation before anybody borrowed it, how many have."""


@contextmanager
def borrowed(configs: Sequence[Any]) -> Iterator[None]:
    """The configs may be changed in the block; the last to leave gives them their own back."""
    with _lock:
        for config in configs:
            _, before, count = _borrowed.get(
                id(config), (config, config._attn_implementation_internal, 0)
            )
            _borrowed[id(config)] = (config, before, count + 1)
    try:
        yield
    finally:
        with _lock:
            for config in configs:
                _, before, count = _borrowed.pop(id(config))
                if count > 1:
                    _borrowed[id(config)] = (config, before, count - 1)
                else:
                    config._attn_implementation_internal = before
