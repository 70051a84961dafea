"""What a folder in Hugging Face layout must look like before anything of it is loaded."""

import re
from pathlib import Path

from eyeline._errors import CheckpointError
from eyeline.models._json import read_object

# What is fetched of a repository: configuration, weights that hold numbers only, tokenizer.
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
# Folders hold other formats' copies of the weights, and `consolidated` is a second copy of them.
UNWANTED = ("*/*", "consolidated*")

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")


def check_folder(folder: Path) -> Path:
    """Check that `folder` holds a configuration and complete safetensors weights.

    Args:
        folder: A folder that is said to be in Hugging Face layout.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the configuration or the weights are missing, if the weights are
            pickles, or if the list of shards leads out of the folder.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            folder, "configuration", "no config.json", fix="give the folder that holds the model"
        )
    read_object(folder / "config.json")
    shards(folder)
    return folder


def shards(folder: Path) -> list[str]:
    """The names of the files that hold the weights; each is there, and inside of the folder.

    Raises:
        CheckpointError: There are none, or one leads out of the folder.
    """
    index = folder / "model.safetensors.index.json"
    names = _in_index(index) if index.is_file() else _weights(folder)
    for name in names:
        _check_inside(folder, name)
    return names


def _weights(folder: Path) -> list[str]:
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    if names:
        return names
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise CheckpointError(
            folder,
            "weights",
            f"only {pickles[0]}, a pickle: refused, as loading one can run any program",
            limit="*.safetensors",
            fix="convert it with its author's tools, or save_pretrained(...) of a model you trust",
        )
    raise CheckpointError(
        folder,
        "weights",
        "none",
        limit="model.safetensors, or an index with shards",
        fix="copy the weights into the folder or fetch the model again",
    )


def _in_index(index: Path) -> list[str]:
    """The names of the shards in an index, each a plain name that exists beside the index."""
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(index, "weight_map", "no table of names", fix="fetch the model again")
    found = set()
    for name in names.values():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise CheckpointError(
                index,
                "name of a shard",
                repr(name)[:200],
                limit="a plain file name ending in .safetensors",
                fix="do not use this model: its index points out of its folder",
            )
        found.add(name)
    return sorted(found)


def _check_inside(folder: Path, name: str) -> None:
    """A weights file must exist and be inside the folder, or the Hub cache's own copy of it."""
    path = folder / name
    if not path.is_file():
        raise CheckpointError(path, "weights", "missing", fix="fetch the model again")
    allowed = [folder.resolve()]
    if folder.parent.name == "snapshots":  # the Hub's cache: snapshots/<revision> links to blobs
        allowed.append(folder.parent.parent.resolve() / "blobs")
    target = path.resolve()
    if not any(target.is_relative_to(root) for root in allowed):
        raise CheckpointError(
            path, "weights", f"a link to {target}", limit=f"a file in {folder}", fix="copy it there"
        )
