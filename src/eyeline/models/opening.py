"""A folder or a file as one of eyeline's own networks with its tokenizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eyeline._errors import CheckpointError
from eyeline.models._config import ConfigError, Unsupported
from eyeline.models._json import read_object
from eyeline.models._unfilled import unfilled
from eyeline.models.built_in import BUILT_IN
from eyeline.models.cache import read_record
from eyeline.models.checkpoint import Checkpoint, fill, open_checkpoint
from eyeline.models.families import family_of, network_class, read_config
from eyeline.models.own import OwnModel
from eyeline.models.tokenizer import TextTokenizer

__all__ = ["Unsupported", "check_vocabulary", "make_network", "open_network", "open_own"]


def open_own(
    path: Path,
    name: str,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    read_tokenizer: Callable[[Path], TextTokenizer] = TextTokenizer.from_folder,
) -> OwnModel:
    """Open a model whose architecture eyeline has a network for.

    Args:
        path: A folder in Hugging Face layout, or one .safetensors file with config.json and
            tokenizer beside it, or a .gguf file.
        name: What the user called it.
        dtype: What the weights become.
        device: Where they go.
        read_tokenizer: How a folder's tokenizer is read.

    Raises:
        CheckpointError: A file is missing, damaged, dangerous, or does not fit the others.
        Unsupported: eyeline has no such network, transformers may have.
    """
    if path.suffix == ".gguf" and path.is_file():
        from eyeline.models.gguf import open_gguf

        network, tokenizer, content = open_gguf(path, dtype)
    else:
        network, content = open_network(path, dtype=dtype)
        tokenizer = read_tokenizer(path if path.is_dir() else path.parent)
    config: Any = network.config
    check_vocabulary(path, network, tokenizer)
    family = family_of(config, content)
    return OwnModel(name, network.to(device), tokenizer, family, _source(path))


def open_network(path: Path, *, dtype: torch.dtype = torch.float32) -> tuple[Any, dict[str, Any]]:
    """The network alone, and the content of its config.json."""
    folder = path if path.is_dir() else path.parent
    content = read_object(folder / "config.json")
    checkpoint = open_checkpoint(path)
    return make_network(content, checkpoint, folder / "config.json", dtype), content


def make_network(
    content: dict[str, Any], checkpoint: Checkpoint, where: Path, dtype: torch.dtype
) -> nn.Module:
    """A network of that config with these numbers.

    Args:
        content: What config.json says.
        checkpoint: The numbers.
        where: The file that the config stands in, for messages.
        dtype: What the numbers become.

    Raises:
        CheckpointError: Config and numbers do not fit each other.
        Unsupported: eyeline has no such network.
    """
    names = checkpoint.entries.keys()
    try:
        config = read_config(content, names)
        layers: int = getattr(config, "num_layers", 0)
        if layers > len(names):  # before a thousand layers are made for nothing
            raise ConfigError("number of layers", layers, f"at most {len(names)}, one per tensor")
        with unfilled():
            network = network_class(config)(config)
    except ConfigError as error:
        fix = "correct the file, or fetch the model again"
        raise CheckpointError(where, error.key, error.found, limit=error.limit, fix=fix) from error
    except (ValueError, RuntimeError) as error:  # widths that are no multiples of each other, …
        raise CheckpointError(where, "configuration", error, fix="correct the file") from error
    return fill(network, checkpoint, dtype).eval()


def check_vocabulary(path: Path, network: Any, tokenizer: TextTokenizer) -> None:
    """Refuse a tokenizer that gives numbers which the network has no vector for.

    Tokens that were added to a tokenizer are looked at when a text has one: fine-tuned models name
    some that nobody uses.
    """
    size = network.config.vocab_size
    ordinary = tokenizer.backend.get_vocab(with_added_tokens=False)
    largest = max(ordinary.values(), default=-1)
    if largest >= size:
        raise CheckpointError(
            path,
            "vocabulary",
            f"a tokenizer with numbers up to {largest}",
            limit=f"numbers below {size}, as many as the network has embeddings",
            fix="tokenizer and weights are not of one model: fetch both again",
        )


def _source(path: Path) -> str:
    for built_in in BUILT_IN.values():
        if path == built_in.path:
            return built_in.source
    record = read_record(path) if path.is_dir() else None
    return str(path) if record is None else f"{record.origin} {record.version}, {record.weights}"
