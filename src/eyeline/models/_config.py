"""What a model's frozen config has in common with the config.json of a Hugging Face folder.

Each field says which key of config.json it is. A value of the wrong kind is an error that names the
key; a value that is right but that our network has no code for is `Unsupported`.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from eyeline.nn import ACTIVATIONS

__all__ = ["Config", "ConfigError", "Unsupported", "activation", "architecture_of", "option"]

MOST = {"num_layers": 1_000, "num_decoder_layers": 1_000, "num_heads": 10_000}
MOST_OTHERWISE = 100_000_000

_SAME_FUNCTION = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_python": "gelu",
    "swish": "silu",
    "relu2": "squared_relu",
}
_WRITTEN = {"gelu_tanh": "gelu_new", "squared_relu": "relu2"}


class ConfigError(ValueError):
    """A key of config.json holds what it must not."""

    def __init__(self, key: str, found: object, limit: str) -> None:
        super().__init__(f"{key} is {found!r}, expected {limit}")
        self.key, self.found, self.limit = key, found, limit


class Unsupported(Exception):
    """The model has a part that eyeline's own network does not; the message names it."""


def option(default: Any, *names: str) -> Any:
    """A field, and its names in config.json: the first is written; by default its own name."""
    return field(default=default, metadata={"names": names})


@dataclass(frozen=True)
class Config:
    """Base of the models' configs."""

    MODEL_TYPE: ClassVar[str]
    ARCHITECTURE: ClassVar[str]

    @classmethod
    def from_json(cls, config: dict[str, Any], names: Collection[str] = ()) -> Self:
        """The config of a model in Hugging Face layout.

        Args:
            config: The content of config.json.
            names: Names of the tensors in the checkpoint: some parts only show there.

        Raises:
            ConfigError: A value is not of its kind, or absurd.
            Unsupported: Our network has no such part.
        """
        kinds = typing.get_type_hints(cls)
        found: dict[str, Any] = {}
        for one in dataclasses.fields(cls):
            if "names" not in one.metadata:
                continue
            for key in one.metadata["names"] or (one.name,):
                if key in config:
                    found[one.name] = _checked(key, one.name, kinds[one.name], config[key])
                    break
        return cls(**found | cls.extra(config, names))

    def to_json(self) -> dict[str, Any]:
        """The content of a config.json that transformers understands."""
        written: dict[str, Any] = {
            "architectures": [self.architecture],
            "model_type": self.MODEL_TYPE,
        }
        for one in dataclasses.fields(self):
            if "names" in one.metadata:
                value = getattr(self, one.name)
                if one.name == "activation":
                    value = _WRITTEN.get(value, value)
                written[(one.metadata["names"] or (one.name,))[0]] = value
        return written | self.extra_json()

    @classmethod
    def extra(cls, config: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Fields that are not simply a key of config.json."""
        return {}

    def extra_json(self) -> dict[str, Any]:
        """The other way round."""
        return {}

    @property
    def architecture(self) -> str:
        """Hugging Face's name of the class."""
        return self.ARCHITECTURE


def _checked(key: str, name: str, kind: Any, value: Any) -> Any:
    if name == "activation":
        return activation(value, key)
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and type(None) in allowed:
        return None
    if isinstance(value, list) and any(typing.get_origin(one) is tuple for one in allowed):
        return tuple(_token(key, one) for one in value)
    if name.endswith("token_id"):
        return _token(key, value)
    if bool in allowed:
        if type(value) is not bool:
            raise ConfigError(key, value, "true or false")
        return value
    if float in allowed:
        return _real(key, name, value)
    if int in allowed:
        most = MOST.get(name, MOST_OTHERWISE)
        if type(value) is not int or not 1 <= value <= most:
            raise ConfigError(key, value, f"a whole number from 1 to {most}")
        return value
    if not isinstance(value, str):
        raise ConfigError(key, value, "a name")
    return value


def _token(key: str, value: Any) -> int | None:
    """The number of a token; some checkpoints write -1 for none."""
    if type(value) is not int or value > MOST_OTHERWISE:
        raise ConfigError(key, value, "the number of a token")
    return value if value >= 0 else None


def _real(key: str, name: str, value: Any) -> float:
    number = float(value) if type(value) in (int, float) else math.nan
    if name.endswith(("dropout", "smoothing")):
        if not 0 <= number <= 1:
            raise ConfigError(key, value, "a probability from 0 to 1")
    elif not 0 < number < math.inf:
        raise ConfigError(key, value, "a positive number")
    return number


def architecture_of(content: dict[str, Any]) -> str | None:
    """The name of the class that a config.json says the model is of."""
    names = content.get("architectures")
    first = names[0] if isinstance(names, list) and names else None
    return first if isinstance(first, str) else None


def activation(value: Any, key: str = "activation") -> str:
    """Our name of an activation function.

    Raises:
        Unsupported: There is none.
    """
    if not isinstance(value, str):
        raise ConfigError(key, value, "the name of a function")
    name = _SAME_FUNCTION.get(value, value)
    if name not in ACTIVATIONS:
        raise Unsupported(f"the activation {value!r}")
    return name
