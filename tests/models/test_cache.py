import json
import os
import time

import pytest

from eyeline.models import cache, cached, get


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "elsewhere"))
    assert cache.models_folder() == tmp_path / "elsewhere" / "models"


def test_without_it_the_users_cache_is_taken(monkeypatch):
    monkeypatch.delenv("EYELINE_CACHE")
    folder = cache.models_folder()
    assert folder.is_absolute() and folder.name == "models" and "eyeline" in str(folder)


def test_an_empty_or_missing_cache_has_no_models():
    assert cached() == []
    assert cache.sweep() == []


def test_a_cached_model_is_listed_with_its_size_and_origin(tiny_entry):
    folder = get("tiny")
    (model,) = cached()
    assert (model.name, model.path) == ("tiny", folder)
    assert model.size == sum(
        path.stat().st_size for path in folder.iterdir() if path.name != cache.RECORD
    )
    assert model.record.origin == "tiny-package"


@pytest.mark.parametrize("damage", ["shorter", "missing file", "no record", "bad record", "list"])
def test_a_damaged_model_does_not_count(tiny_entry, damage):
    folder = get("tiny")
    record = folder / cache.RECORD
    if damage == "shorter":
        os.truncate(folder / "model.safetensors", 10)
    elif damage == "missing file":
        (folder / "tokenizer.json").unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "bad record":
        record.write_text("{", encoding="utf-8")
    else:
        content = json.loads(record.read_text(encoding="utf-8")) | {"files": ["model.safetensors"]}
        record.write_text(json.dumps(content), encoding="utf-8")
    assert cache.read_record(folder) is None
    assert cached() == []


def test_sweeping_takes_old_partial_folders_only(cache_folder, tiny_entry):
    model = get("tiny")
    old, young = cache_folder / ".partial-tiny-old", cache_folder / ".partial-tiny-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "half").write_bytes(b"x")
    yesterday = time.time() - 25 * 3600
    for path in (old / "half", old, model):
        os.utime(path, (yesterday, yesterday))
    assert cache.sweep() == [old]
    assert young.is_dir() and model.is_dir() and not old.exists()


def test_a_running_fetch_in_an_old_folder_is_left_alone(cache_folder):
    folder = cache_folder / ".partial-tiny-slow"
    folder.mkdir(parents=True)
    (folder / "growing").write_bytes(b"x")
    yesterday = time.time() - 25 * 3600
    os.utime(folder, (yesterday, yesterday))
    assert cache.sweep() == []


def test_a_folder_that_goes_while_we_look_is_somebodys_work(tmp_path, monkeypatch):
    folder = cache.models_folder() / f"{cache.PARTIAL}tiny-1"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))

    def gone(self, pattern):
        raise FileNotFoundError(self)

    monkeypatch.setattr(type(folder), "rglob", gone)
    assert cache.sweep() == [] and folder.exists()
