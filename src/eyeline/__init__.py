"""What every token looks at: in any Transformer, at any length, exactly."""

from eyeline import biases as biases
from eyeline import masks as masks
from eyeline.functional import attention as attention
from eyeline.functional import observe as observe
from eyeline.maps import AttentionMap as AttentionMap
from eyeline.maps import Measure as Measure


def __getattr__(name: str) -> object:
    """`watch`, `read`, … come in when first used: `import eyeline` stays light."""
    import importlib

    late = {
        "watch": "eyeline.capture",
        "load": "eyeline.readings",
        "read": "eyeline.readings",
        "Reading": "eyeline.readings",
        "EyelineError": "eyeline._errors",
    }
    if name in late:
        return getattr(importlib.import_module(late[name]), name)
    raise AttributeError(f"module 'eyeline' has no attribute {name!r}")
