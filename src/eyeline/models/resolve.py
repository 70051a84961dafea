"""What `--model X` means: a name of the catalogue, a folder, or a model on the Hub."""

import re
from pathlib import Path

from eyeline._errors import CheckpointError, ModelNotFound
from eyeline.models import _hub
from eyeline.models._layout import check_folder
from eyeline.models._progress import Progress, reported, silent
from eyeline.models.built_in import BUILT_IN
from eyeline.models.catalogue import CATALOGUE
from eyeline.models.fetch import get, near

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_CHOICES = (
    "a model is built in, a name of the catalogue, a folder, a .safetensors or .gguf file, "
    "or organisation/name on the Hub"
)


def resolve(name: str, progress: Progress | None = None) -> Path:
    """The folder, or the file, of the model that the user names.

    In this order: a model that is built in, a name of the catalogue (fetched when the cache does
    not have it), an existing folder in Hugging Face layout, an existing .safetensors or .gguf file,
    a model on the Hugging Face Hub (from the Hub's own cache when the Hub cannot be reached).

    Args:
        name: What the user typed.
        progress: Called as the work goes on, possibly from another thread.

    Returns:
        A folder in Hugging Face layout with safetensors weights, or a file.

    Raises:
        ModelNotFound: If it is none of these.
        CheckpointError: If it is a folder or a model that must not or cannot be loaded.
        EyelineError: If it is a name of the catalogue that cannot be fetched.
    """
    if name in BUILT_IN:
        return BUILT_IN[name].path
    if name in CATALOGUE:
        return get(name, progress)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return check_folder(path.absolute())
    if name and path.exists():
        return _file(path.absolute())
    if not _HUB_ID.fullmatch(name):
        raise ModelNotFound(f"no model and no folder {name!r}{near(name)}; {_CHOICES}")
    return _from_hub(name, progress or silent)


def _file(path: Path) -> Path:
    """One file that is a model: a GGUF file, or safetensors with a config.json beside it."""
    if path.suffix not in (".safetensors", ".gguf"):
        raise CheckpointError(
            path,
            "model",
            f"a file that ends in {path.suffix!r}",
            limit=".safetensors or .gguf; a pickle is refused, as loading one can run any program",
            fix=f"give such a file, or the folder that holds config.json and weights; {_CHOICES}",
        )
    if path.suffix == ".safetensors" and not (path.parent / "config.json").is_file():
        raise CheckpointError(
            path.parent,
            "configuration",
            "no config.json",
            fix=f"put the config.json of the model beside {path.name}",
        )
    return path


def _from_hub(name: str, progress: Progress) -> Path:
    try:
        try:
            _hub.require_hub()
            with reported(_hub.blobs_folder(name), "hub", None, progress):
                folder = _hub.download(name)
        except _hub.HubUnavailable as error:
            folder = _local(name, error)
    except _hub.HubHasNot as error:
        raise ModelNotFound(f"no model {name!r}: {error}{near(name)}; {_CHOICES}") from error
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{name} on the Hub",
            "weights",
            "no safetensors, perhaps a pickle, which is refused as loading one can run any program",
            limit="model.safetensors",
            fix="look for a copy of the model with safetensors",
        )
    return check_folder(folder)


def _local(name: str, reason: Exception) -> Path:
    try:
        return _hub.from_local_cache(name)
    except _hub.HubUnavailable as error:
        raise ModelNotFound(
            f"no model {name!r} on this machine, and the Hugging Face Hub cannot be asked "
            f"({reason}){near(name)}; {_CHOICES}"
        ) from error
