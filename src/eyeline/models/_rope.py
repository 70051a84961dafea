"""Rotary positions in config.json, as it has been written over the years.

Today `rope_parameters` holds all of it; before, `rope_theta` stood by itself and `rope_scaling`
held the rest, with `type` instead of `rope_type`.
"""

import math
from typing import Any

from eyeline.models._config import ConfigError, Unsupported
from eyeline.nn.rotary import Stretch

__all__ = ["read_rope", "write_rope"]

_NEEDED = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": (),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
_NUMBERS = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim")


def read_rope(config: dict[str, Any]) -> tuple[float, Stretch]:
    """Theta, and how frequencies are stretched.

    Args:
        config: The content of config.json.

    Raises:
        ConfigError: A value is not of its kind.
        Unsupported: A kind of stretching that is not known here.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise ConfigError("rope_parameters", rope, "an object")
    theta = _number(rope, "rope_theta", config.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in _NEEDED:
        raise Unsupported(f"rotary positions of the kind {kind!r}")
    partial = rope.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    if partial not in (None, 1, 1.0):
        raise Unsupported("rotary positions on a part of each head")
    for key in _NEEDED[kind]:
        if key not in rope:
            raise ConfigError(f"rope_parameters.{key}", None, f"a value: {kind} needs one")
    longest = config.get("max_position_embeddings", 2048)
    original = longest
    if kind in ("llama3", "yarn", "longrope"):
        original = config.get("original_max_position_embeddings")
        original = original or rope.get("original_max_position_embeddings") or longest
    if type(original) is not int or original < 2:
        raise ConfigError("original_max_position_embeddings", original, "a length")
    factor = rope.get("factor")
    if factor is None:
        factor = longest / original
    numbers: dict[str, Any] = {
        key: _number(rope, key, None) for key in _NUMBERS if rope.get(key) is not None
    }
    if kind == "llama3":
        numbers |= {key: _number(rope, key, None) for key in _NEEDED[kind][1:]}
    if kind == "longrope":
        numbers |= {key: _numbers(rope, key) for key in _NEEDED[kind]}
    if rope.get("divisors") is not None:  # not Hugging Face's: what a GGUF file says
        numbers["divisors"] = _numbers(rope, "divisors")
    stretch = Stretch(
        kind,
        factor=_number({"factor": factor}, "factor", None),
        original_length=original,
        truncate=bool(rope.get("truncate", True)),
        **numbers,
    )
    return theta, stretch


def write_rope(theta: float, stretch: Stretch) -> dict[str, Any]:
    """The same as keys of config.json.

    Raises:
        Unsupported: The stretch has no name there.
    """
    if stretch.divisors:
        raise Unsupported("rotary positions with a divisor for each pair: config.json has none")
    rope: dict[str, Any] = {"rope_type": stretch.kind, "rope_theta": theta}
    if stretch.kind != "default":
        rope["factor"] = stretch.factor
    if stretch.kind in ("llama3", "yarn", "longrope"):
        rope["original_max_position_embeddings"] = stretch.original_length
    if stretch.kind == "llama3":
        rope |= {key: getattr(stretch, key) for key in _NEEDED["llama3"][1:]}
    if stretch.kind == "longrope":
        rope |= {key: list(getattr(stretch, key)) for key in _NEEDED["longrope"]}
    if stretch.kind in ("yarn", "longrope"):
        keys = _NUMBERS if stretch.kind == "yarn" else _NUMBERS[:1]
        rope |= {k: v for k in keys if (v := getattr(stretch, k)) is not None}
    if stretch.kind == "yarn" and not stretch.truncate:
        rope["truncate"] = False
    return {"rope_parameters": rope}


def _number(rope: dict[str, Any], key: str, default: Any) -> float:
    value = rope.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"rope_parameters.{key}", value, "a positive number")
    return float(value)


def _numbers(rope: dict[str, Any], key: str) -> tuple[float, ...]:
    if not isinstance(rope[key], list) or len(rope[key]) > 10_000:
        raise ConfigError(f"rope_parameters.{key}", type(rope[key]).__name__, "a list of numbers")
    return tuple(_number({key: value}, key, None) for value in rope[key])
