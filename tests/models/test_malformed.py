"""Every malformed checkpoint is one clear error: at once, in little memory, and nothing is run."""

import gc
import sys
import time
from pathlib import Path

import pytest
import torch

import _malformed
from eyeline._errors import CheckpointError
from eyeline.models._safetensors_file import SafetensorsFile
from eyeline.models.opening import open_own
from eyeline.models.resolve import resolve

SECONDS, BYTES = 1.0, 64 * 2**20


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("good")


def test_there_are_more_than_a_hundred(root):
    assert len(_malformed.CORPUS) >= 180
    model = open_own(_malformed.good(root), "good")  # the one that all are made of
    assert model.network.config.vocab_size == 400
    assert isinstance(model.generate("The animal", 3), str)


def memory(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


@pytest.fixture(scope="module")
def young_garbage_only():
    """What lives already is no garbage of these tests: to look through it takes 0.1 to 0.3 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", _malformed.CORPUS)
@pytest.mark.usefixtures("young_garbage_only")
def test_it_is_refused(name, root, tmp_path):
    path = _malformed.build(name, root, tmp_path / "model")
    gc.collect()
    linux = sys.platform == "linux"
    if linux:
        Path("/proc/self/clear_refs").write_text("5")  # resets the recorded peak
    before, start = memory("VmRSS") if linux else 0, time.perf_counter()
    with pytest.raises(CheckpointError) as error:
        open_own(resolve(str(path)), "malformed")
    seconds = time.perf_counter() - start
    grown = memory("VmHWM") - before if linux else 0
    assert seconds < SECONDS
    assert grown < BYTES, f"{grown / 2**20:.0f} MB"
    message = str(error.value)
    assert str(tmp_path) in message and len(message) < 1500
    assert message.isprintable()
    assert error.value.what and (error.value.limit or error.value.fix)


def test_every_truncation_of_a_small_file(tmp_path):
    entries = {"a": _malformed.entry(), "b": _malformed.entry("F16", (2, 2), (8, 16))}
    whole = _malformed.written(entries, bytes(range(16)))
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole)
    assert SafetensorsFile(path).entries.keys() == entries.keys()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            SafetensorsFile(path)


def test_a_file_that_shrinks_after_its_header_was_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(_malformed.written({"a": _malformed.entry()}, bytes(8)))
    file = SafetensorsFile(path)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size - 3)
    with pytest.raises(CheckpointError, match="bytes of 'a': found 5"):
        file.read("a")


def test_numbers_are_copies(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(_malformed.written({"a": _malformed.entry()}, bytes(8)))
    kept = SafetensorsFile(path).read("a")
    path.write_bytes(path.read_bytes()[:-8] + b"\xff" * 8)
    assert torch.equal(kept, torch.zeros(2))


def test_more_than_there_is_memory_for(root, monkeypatch):
    from eyeline.models import checkpoint

    monkeypatch.setattr(checkpoint, "available_memory", lambda: 20_000)
    allocated = []
    monkeypatch.setattr(SafetensorsFile, "read", lambda *_: allocated.append(1))
    with pytest.raises(CheckpointError, match=r"size in memory: found .* GB .*bfloat16"):
        open_own(_malformed.good(root), "good")
    assert not allocated


def test_numbers_that_are_not_finite_get_a_warning(root, tmp_path):
    spoil = _malformed.tensors(
        lambda t: t[_malformed.Q_PROJ].view(-1)[3:4].fill_(torch.nan) and None
    )
    import shutil

    folder = shutil.copytree(_malformed.good(root), tmp_path / "model")
    spoil(folder)
    with pytest.warns(UserWarning, match=r"layers\.1\.self_attn\.q_proj\.weight' holds NaN"):
        open_own(folder, "broken")
