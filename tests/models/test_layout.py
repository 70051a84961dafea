import json

import pytest

from eyeline._errors import CheckpointError
from eyeline.models._layout import check_folder


@pytest.fixture
def folder(tmp_path, write_folder):
    return write_folder(tmp_path / "model")


def write_index(folder, *shards: object) -> None:
    index = {"weight_map": {f"tensor{number}": shard for number, shard in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def test_a_good_folder(folder):
    assert check_folder(folder) == folder


def test_a_good_sharded_folder(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    write_index(folder, "model-00001-of-00001.safetensors")
    assert check_folder(folder) == folder


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "\ud800"])
def test_a_broken_configuration_is_refused(folder, content):
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(CheckpointError, match="JSON"):
        check_folder(folder)


def test_a_folder_without_configuration_is_refused(folder):
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "x.ckpt"])
def test_a_pickle_is_refused(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(CheckpointError, match="pickle"):
        check_folder(folder)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="found none"):
        check_folder(folder)


@pytest.mark.parametrize(
    "shard",
    [
        "../outside.safetensors",
        "/outside.safetensors",
        "sub/shard.safetensors",
        "..\\outside.safetensors",
        "C:outside.safetensors",
        ".hidden.safetensors",
        "a\nb.safetensors",
        "pytorch_model.bin",
        "",
        3,
    ],
)
def test_a_shard_that_is_no_plain_name_is_refused(folder, shard):
    (folder.parent / "outside.safetensors").write_bytes(b"")
    write_index(folder, shard)
    with pytest.raises(CheckpointError, match="name of a shard"):
        check_folder(folder)


def test_a_missing_shard_or_an_empty_index_is_refused(folder):
    write_index(folder, "model-1.safetensors")
    with pytest.raises(CheckpointError, match="missing"):
        check_folder(folder)
    write_index(folder)
    with pytest.raises(CheckpointError, match="weight_map"):
        check_folder(folder)


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(CheckpointError, match="a link to"):
        check_folder(folder)


def test_the_hubs_own_links_are_fine(tmp_path, write_folder):
    repository = tmp_path / "models--a--b"
    folder = write_folder(repository / "snapshots" / "c0ffee")
    (repository / "blobs").mkdir()
    (folder / "model.safetensors").rename(repository / "blobs" / "1234")
    (folder / "model.safetensors").symlink_to("../../blobs/1234")
    assert check_folder(folder) == folder
