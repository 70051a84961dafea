"""What passes between the two processes: JSON and safetensors, nothing that can run.

A frame is a length, a JSON text and a safetensors text. Tensors stand in the JSON as
`{"tensor": "3"}`, by their name in the safetensors part. A pickle would run code in
whoever reads it.
"""

import json
import struct
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from eyeline.learn.sandbox.calls import Call, Opaque

__all__ = ["Call", "Opaque", "WireError", "decode", "encode", "lengths"]

_LENGTHS = struct.Struct("<QQ")
HEADER_BYTES = _LENGTHS.size
_DEPTH = 16
_NAME = 200


class WireError(ValueError):
    """The bytes are no frame: nobody who keeps to the protocol wrote them."""


def encode(data: Any) -> bytes:
    """A frame that holds `data`."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_pack(data, tensors, _DEPTH), allow_nan=True).encode()
    body = save(tensors)
    return _LENGTHS.pack(len(text), len(body)) + text + body


def lengths(header: bytes) -> tuple[int, int]:
    """Bytes of the JSON and of the safetensors part, from a frame's first 16 bytes."""
    return _LENGTHS.unpack(header)


def decode(frame: bytes) -> Any:
    """What is in a frame.

    Raises:
        WireError: It is none.
    """
    try:
        text, body = lengths(frame[:HEADER_BYTES])
        if HEADER_BYTES + text + body != len(frame):
            raise WireError("the lengths do not fit")
        start = HEADER_BYTES + text
        data = json.loads(frame[HEADER_BYTES:start])
        return _unpack(data, load(frame[start:]), _DEPTH)
    except WireError:
        raise
    except Exception as error:  # whatever a hostile frame makes of the parsers
        raise WireError(f"no frame: {type(error).__name__}") from None


def _pack(data: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth == 0:
        return {"other": "something nested too deeply"}
    if isinstance(data, Call):
        data = {"function": data.function, "args": data.args, "kwargs": data.kwargs or {}} | {
            "grad": data.grad
        }
    array = _as_tensor(data)
    if array is not None:
        name = str(len(tensors))
        tensors[name] = array
        return {"tensor": name}
    if data is None or type(data) in (bool, int, float, str):
        return {"plain": data}
    if isinstance(data, list | tuple):
        kind = "list" if isinstance(data, list) else "tuple"
        return {kind: [_pack(one, tensors, depth - 1) for one in data]}
    if isinstance(data, dict) and all(type(key) is str for key in data):
        return {"dict": {key: _pack(one, tensors, depth - 1) for key, one in data.items()}}
    return {"other": type(data).__name__[:_NAME]}


def _as_tensor(data: Any) -> Tensor | None:
    if isinstance(data, Tensor):
        if data.layout != torch.strided or data.device.type == "meta" or data.is_complex():
            return None
        plain = data.detach().as_subclass(Tensor)  # a subclass could answer as it likes
        return plain.to("cpu").contiguous().clone()
    if type(data).__module__ == "numpy" and type(data).__name__ in ("ndarray", "float64"):
        try:
            return torch.as_tensor(data).contiguous().clone()
        except TypeError:
            return None
    return None


def _unpack(data: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth < 0 or not isinstance(data, dict) or len(data) != 1:
        raise WireError("the JSON part is not of this protocol")
    ((kind, inner),) = data.items()
    match kind:
        case "plain" if inner is None or type(inner) in (bool, int, float, str):
            return inner
        case "tensor":
            return tensors[inner]
        case "list" | "tuple":
            items = [_unpack(one, tensors, depth - 1) for one in inner]
            return items if kind == "list" else tuple(items)
        case "dict":
            return {str(key): _unpack(one, tensors, depth - 1) for key, one in inner.items()}
        case "other" if isinstance(inner, str):
            return Opaque(inner[:_NAME])
    raise WireError(f"the JSON part has a {kind!r}")
