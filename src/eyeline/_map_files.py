"""Attention problems in safetensors files: tensors as they are, rules (masks, biases) as JSON.

A name in the JSON is looked up among the rules below, nothing else can be made from a file.
"""

import json
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline.biases import Alibi, Bias, RelativeBias, TensorBias
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Normalizer
from eyeline.masks import Mask, rules
from eyeline.masks import base as algebra

FORMAT = "eyeline-maps-2"
PREDICATE_LIMIT = 64 * 2**20
"""A mask given as a function cannot be written; up to so many cells it is written out instead."""

_MASKS: dict[str, type] = {
    c.__name__: c
    for c in (
        *(rules.Band, rules.Interval, rules.Keys, rules.Documents, rules.Dense),
        *(algebra.And, algebra.Or, algebra.Not),
    )
}


def save(maps: dict[str, tuple[Problem, Normalizer]], path: Path, extra: Any = None) -> None:
    """Write problems and their normalizers under their names; the file appears whole or not at all.

    Args:
        maps: Name → (problem, maximum and sum of each row).
        path: Where to.
        extra: Anything JSON can hold, returned by `load_extra`.
    """
    tensors: dict[str, Tensor] = {}
    described = {name: _describe(name, *item, tensors) for name, item in maps.items()}
    metadata = {"format": FORMAT, "maps": json.dumps(described), "extra": json.dumps(extra)}
    data = safetensors.torch.save(tensors, metadata=metadata)
    write_atomically(path, data)


def load(path: Path) -> dict[str, tuple[Problem, Normalizer]]:
    """Read what `save` wrote."""
    return load_extra(path)[0]


def load_extra(path: Path) -> tuple[dict[str, tuple[Problem, Normalizer]], Any]:
    """Read what `save` wrote, and its `extra`.

    Raises:
        EyelineError: The file is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise EyelineError(f"{path} does not exist: expected a file that eyeline saved")
    data = path.read_bytes()  # by copy: a mapped file that shrinks would end the process
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header.get("__metadata__") or {}
        if metadata.get("format") != FORMAT:
            raise EyelineError(f"{path} is a safetensors file, but not one that eyeline saved")
        described = json.loads(metadata["maps"])
        maps = {name: _restore(item, tensors) for name, item in described.items()}
        return maps, json.loads(metadata["extra"])
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise EyelineError(f"{path} is damaged or not a file that eyeline saved: {error}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, then move it there: nobody sees half a file."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise EyelineError(f"cannot write {path}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _describe(
    name: str, problem: Problem, normalizer: Normalizer, tensors: dict[str, Tensor]
) -> dict:
    def keep(part: str, tensor: Tensor) -> str:
        key = f"{name}/{part}"
        tensors[key] = tensor.detach().cpu().contiguous().clone()
        return key

    return {
        "query": keep("query", problem.query),
        "key": keep("key", problem.key),
        "value": keep("value", problem.value),
        "maximum": keep("maximum", normalizer.maximum),
        "total": keep("total", normalizer.total),
        "scale": problem.scale,
        "softcap": problem.softcap,
        "sinks": None if problem.sinks is None else keep("sinks", problem.sinks),
        "mask": None if problem.mask is None else _rule(problem.mask, problem, keep, "mask"),
        "biases": [_bias(b, keep, f"bias{n}") for n, b in enumerate(problem.biases)],
    }


def _rule(mask: Mask, problem: Problem, keep: Any, name: str) -> dict:
    if isinstance(mask, rules.Predicate):
        mask = _written_out(mask, problem)
    found: dict[str, Any] = {"rule": type(mask).__name__}
    for field in fields(mask):  # type: ignore[arg-type]
        value = getattr(mask, field.name)
        if isinstance(value, Mask):
            value = _rule(value, problem, keep, f"{name}.{field.name}")
        elif isinstance(value, Tensor):
            value = {"tensor": keep(f"{name}.{field.name}", value)}
        found[field.name] = value
    return found


def _written_out(mask: Mask, problem: Problem) -> Mask:
    _, _, q_len, kv_len = problem.shape
    if problem.query.shape[0] * problem.query.shape[1] * q_len * kv_len > PREDICATE_LIMIT:
        raise EyelineError(
            f"{mask} is a function and too large to write out "
            f"({q_len} x {kv_len}); make it from named masks to save it"
        )
    return rules.Dense(mask.tile(problem.whole()).cpu())


def _bias(bias: Bias, keep: Any, name: str) -> dict:
    described: dict[str, Any] = {"bias": type(bias).__name__, "tensor": keep(name, bias.parameter)}
    if isinstance(bias, Alibi | RelativeBias):
        described["offset"] = bias.offset
    if isinstance(bias, RelativeBias):
        described["bidirectional"] = bias.bidirectional
        described["max_distance"] = bias.max_distance
    return described


def _restore(item: dict, tensors: dict[str, Tensor]) -> tuple[Problem, Normalizer]:
    problem = Problem(
        tensors[item["query"]],
        tensors[item["key"]],
        tensors[item["value"]],
        scale=float(item["scale"]),
        mask=None if item["mask"] is None else _mask(item["mask"], tensors),
        biases=tuple(_restore_bias(b, tensors) for b in item["biases"]),
        softcap=item["softcap"],
        sinks=None if item["sinks"] is None else tensors[item["sinks"]],
    )
    if problem.mask is not None:
        problem.mask.check(*problem.shape)
    for bias in problem.biases:
        bias.check(*problem.shape)
    normalizer = Normalizer(tensors[item["maximum"]], tensors[item["total"]])
    for name, found in normalizer._asdict().items():
        if found.shape != problem.shape[:3]:
            raise ValueError(f"{name} is {list(found.shape)}, expected {problem.shape[:3]}")
    return problem, normalizer


def _mask(item: dict, tensors: dict[str, Tensor]) -> Mask:
    arguments = {}
    for name, value in item.items():
        if name == "rule":
            continue
        if isinstance(value, dict):
            value = tensors[value["tensor"]] if "tensor" in value else _mask(value, tensors)
        arguments[name] = value
    return _MASKS[item["rule"]](**arguments)


def _restore_bias(item: dict, tensors: dict[str, Tensor]) -> Bias:
    tensor = tensors[item["tensor"]]
    if item["bias"] == "TensorBias":
        return TensorBias(tensor)
    if item["bias"] == "Alibi":
        return Alibi(tensor, int(item["offset"]))
    if item["bias"] == "RelativeBias":
        return RelativeBias(
            tensor,
            bidirectional=bool(item["bidirectional"]),
            max_distance=int(item["max_distance"]),
            offset=int(item["offset"]),
        )
    raise ValueError(f"unknown bias {item['bias']!r}")
