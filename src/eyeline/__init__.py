"""What every token looks at: in any Transformer, at any length, exactly.

Names come in when they are first used, so that `import eyeline` and `eyeline --help` load no torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eyeline import biases as biases
    from eyeline import masks as masks
    from eyeline import models as models
    from eyeline import nn as nn
    from eyeline._errors import EyelineError as EyelineError
    from eyeline.capture import watch as watch
    from eyeline.doctor import check as check
    from eyeline.functional import attention as attention
    from eyeline.functional import observe as observe
    from eyeline.maps import AttentionMap as AttentionMap
    from eyeline.measuring import Measure as Measure
    from eyeline.readings import Reading as Reading
    from eyeline.readings import load as load
    from eyeline.readings import read as read

_HOME = {
    "AttentionMap": "eyeline.maps",
    "EyelineError": "eyeline._errors",
    "Measure": "eyeline.measuring",
    "Reading": "eyeline.readings",
    "attention": "eyeline.functional",
    "check": "eyeline.doctor",
    "load": "eyeline.readings",
    "observe": "eyeline.functional",
    "read": "eyeline.readings",
    "watch": "eyeline.capture",
}
_MODULES = ("biases", "masks", "models", "nn")

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "AttentionMap",
    "EyelineError",
    "Measure",
    "Reading",
    "attention",
    "biases",
    "check",
    "load",
    "masks",
    "models",
    "nn",
    "observe",
    "read",
    "watch",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"eyeline.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'eyeline' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
