"""Where fetched models live, what is there, and what may be swept away.

A model in the cache is one folder in Hugging Face layout with a record, `eyeline.json`, that says
where it came from. It is written under a temporary name and renamed when it is whole, so a folder
that bears a model's name is either complete or was damaged later, and the record tells which.
"""

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import platformdirs

RECORD = "eyeline.json"
PARTIAL = ".partial-"
_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Record:
    """Where a cached model came from: the content of its `eyeline.json`.

    Attributes:
        name: Its short name in the catalogue.
        source: `"hub"` or `"package"`.
        origin: The Hub id, or the package.
        version: The revision on the Hub, or the version of the package.
        sha256: sha256 of the folder's `model.safetensors`.
        weights: How the numbers relate to the published ones, in words.
        licence: Licence of the weights.
        fetched: When, in UTC (ISO 8601).
        files: Size in bytes of each file, by its path in the folder.
    """

    name: str
    source: Literal["hub", "package"]
    origin: str
    version: str
    sha256: str
    weights: str
    licence: str
    fetched: str
    files: dict[str, int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the record into `folder`."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        (folder / RECORD).write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Cached:
    """A model in the cache.

    Attributes:
        name: Its short name.
        path: Its folder.
        size: Bytes on disk.
        record: Where it came from.
    """

    name: str
    path: Path
    size: int
    record: Record


def models_folder() -> Path:
    """The folder that holds the cached models; it need not exist.

    Returns:
        `models` inside the folder that the environment variable EYELINE_CACHE names, or else
        inside the user's cache folder for eyeline.
    """
    override = os.environ.get("EYELINE_CACHE")
    root = Path(override).expanduser() if override else platformdirs.user_cache_path("eyeline")
    return root.absolute() / "models"


def read_record(folder: Path) -> Record | None:
    """The record of a complete model.

    Args:
        folder: A folder of the cache.

    Returns:
        The record, or None when there is none or when any file that it lists is missing or has
        another size: such a folder must not be used.
    """
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        record = Record(**content)
        sizes = {name: (folder / name).stat().st_size for name in record.files}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return record if sizes == record.files and "model.safetensors" in sizes else None


def cached() -> list[Cached]:
    """The complete models of the cache, by name.

    Returns:
        One entry for each complete folder; damaged and partial ones are left out.
    """
    found = []
    for folder in _folders():
        record = None if folder.name.startswith(PARTIAL) else read_record(folder)
        if record is not None:
            size = sum(record.files.values())
            found.append(Cached(name=folder.name, path=folder, size=size, record=record))
    return sorted(found, key=lambda model: model.name)


def sweep(older_than: float = _DAY) -> list[Path]:
    """Remove the temporary folders of fetches that were killed.

    Args:
        older_than: Age in seconds; younger ones may belong to a fetch that still runs.

    Returns:
        The folders that were removed.
    """
    removed = []
    for folder in _folders():
        if folder.name.startswith(PARTIAL) and _age(folder) > older_than:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _folders() -> list[Path]:
    try:
        return [path for path in models_folder().iterdir() if path.is_dir()]
    except OSError:
        return []


def _age(folder: Path) -> float:
    """Seconds since anything changed in `folder`: a running fetch touches only its files."""
    latest = 0.0
    try:
        for path in (folder, *folder.rglob("*")):
            latest = max(latest, path.lstat().st_mtime)
    except OSError:  # something has just gone: somebody is at work here
        return 0.0
    return time.time() - latest
