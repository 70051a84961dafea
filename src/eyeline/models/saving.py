"""Writes a network in Hugging Face layout: config.json, model.safetensors, tokenizer.

Each file is written under another name, through to the disk, and renamed when it is whole, the
weights before the config: whatever happens, what was there before is complete or still there.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from eyeline._errors import EyelineError
from eyeline.models._config import Unsupported
from eyeline.models._keys import parts_of
from eyeline.models.loaded import Family
from eyeline.models.tokenizer import TextTokenizer

__all__ = ["save", "tensors_of", "whole_file"]


def save(
    network: Any, folder: Path, tokenizer: TextTokenizer | None = None, family: Family | None = None
) -> None:
    """Write a network, and its tokenizer if it has one.

    Args:
        network: One of eyeline's.
        folder: Made if it is missing.
        tokenizer: Its tokenizer.
        family: What it is used as; "encoder" leaves the head out of its architecture's name.

    Raises:
        EyelineError: It cannot be written; what was saved there before is as it was.
    """
    try:
        config = network.config.to_json() | {"dtype": _dtype(network)}
    except Unsupported as error:
        raise EyelineError(f"cannot save {type(network).__name__}: {error}") from None
    if family == "encoder":
        config["architectures"] = [_without_head(config["architectures"][0])]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / "model.safetensors") as path:
            safetensors.torch.save_file(tensors_of(network), path, metadata={"format": "pt"})
        if tokenizer is not None:
            with whole_file(folder / "tokenizer.json") as path:
                path.write_text(tokenizer.backend.to_str(pretty=True), encoding="utf-8")
            _write_json(folder / "tokenizer_config.json", _settings(network, tokenizer))
        _write_json(folder / "config.json", config)
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EyelineError(
            f"cannot save to {folder}: {reason}; what was saved there before is unchanged"
        ) from error


def tensors_of(network: Any) -> dict[str, Tensor]:
    """The network's parameters under the names, and in the shapes, of a Hugging Face checkpoint."""
    parameters = dict(network.named_parameters())
    pieces: dict[str, dict[int, Tensor]] = {}
    parts = parts_of(parameters, network.KEYS)
    for name, part in parts.items():
        pieces.setdefault(part.name, {})[part.index] = parameters[name].detach().cpu()
    joined = {}
    for part in parts.values():
        if part.name not in joined:
            found = pieces[part.name]
            joined[part.name] = part.join([found[n] for n in range(part.of)])
            if part.also is not None:
                joined[part.also] = joined[part.name].clone()
    bare = getattr(network.config, "architecture", "") == "BertModel"
    if bare:  # as transformers writes a model without a head
        return {name.removeprefix(network.PREFIX): tensor for name, tensor in joined.items()}
    return joined


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of `path` when it is done, or vanishes."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes files that nobody else can read
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _settings(network: Any, tokenizer: TextTokenizer) -> dict[str, Any]:
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {f"{role}_token": token for role, token in tokenizer.roles.items()}
    if tokenizer.chat_template is not None:
        settings["chat_template"] = tokenizer.chat_template
    limit = getattr(network.config, "max_length", None)
    return settings if limit is None else settings | {"model_max_length": limit}


def _dtype(network: nn.Module) -> str:
    return str(next(network.parameters()).dtype).removeprefix("torch.")


def _without_head(architecture: str) -> str:
    return {"GPT2LMHeadModel": "GPT2Model", "LlamaForCausalLM": "LlamaModel"}.get(
        architecture, architecture
    )
