import threading

import pytest

from eyeline._errors import CheckpointError, EyelineError, ModelNotFound
from eyeline.models import _hub, get, resolve


@pytest.fixture
def hub(monkeypatch):
    """`hub(download)`: a Hub that answers; `download(hub_id)` gives a folder or raises."""

    def install(download) -> None:
        monkeypatch.setattr(_hub, "require_hub", lambda: None)
        monkeypatch.setattr(_hub, "download", download)

    return install


@pytest.fixture(autouse=True)
def empty_hub_cache(monkeypatch):
    def nothing(hub_id: str):
        raise _hub.HubUnavailable("not there")

    monkeypatch.setattr(_hub, "from_local_cache", nothing)


def test_a_name_of_the_catalogue_is_fetched(tiny_entry):
    assert resolve("tiny") == get("tiny")


def test_a_folder(tmp_path, write_folder, monkeypatch):
    folder = write_folder(tmp_path / "mine")
    assert resolve(str(folder)) == folder
    monkeypatch.chdir(tmp_path)
    assert resolve("mine") == resolve("./mine") == folder


def test_the_catalogue_goes_before_a_folder_of_that_name(
    tiny_entry, tmp_path, write_folder, monkeypatch
):
    folder = write_folder(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert resolve("tiny") == get("tiny")
    assert resolve("./tiny") == folder


def test_a_file(tmp_path, write_folder):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert resolve(str(tmp_path / "model.gguf")) == tmp_path / "model.gguf"
    weights = write_folder(tmp_path / "model") / "model.safetensors"
    assert resolve(str(weights)) == weights


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.onnx", "model"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"a file that ends in .*a pickle is refused"):
        resolve(str(tmp_path / name))


def test_weights_without_their_configuration_are_refused(tmp_path, write_folder):
    weights = write_folder(tmp_path / "model") / "model.safetensors"
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json; put the config\.json .* beside"):
        resolve(str(weights))


def test_a_model_on_the_hub(tmp_path, write_folder, hub):
    folder = write_folder(tmp_path / "downloaded")
    asked: list[str] = []
    hub(lambda name: (asked.append(name), folder)[1])
    assert resolve("gpt2") == resolve("someone/some.model-1_0") == folder
    assert asked == ["gpt2", "someone/some.model-1_0"]


def test_a_download_from_the_hub_is_reported(tmp_path, write_folder, hub, monkeypatch):
    blobs, heard = tmp_path / "blobs", threading.Event()
    blobs.mkdir()
    (blobs / "of another model").write_bytes(bytes(500))
    monkeypatch.setattr(_hub, "blobs_folder", lambda name: blobs)
    reports = []

    def progress(stage, done, total):
        reports.append((stage, done, total))
        heard.set()

    def download(name):
        (blobs / "weights.incomplete").write_bytes(bytes(1234))
        assert heard.wait(5)
        return write_folder(tmp_path / "downloaded")

    hub(download)
    resolve("someone/some", progress)
    assert reports[0] == ("hub", 1234, None) and reports[-1] == ("hub", 1234, 1234)


def test_without_the_hub_its_local_cache_is_used(tmp_path, write_folder, monkeypatch):
    folder = write_folder(tmp_path / "kept")
    monkeypatch.setattr(_hub, "from_local_cache", lambda name: folder)
    assert resolve("gpt2") == folder


def test_a_model_that_the_hub_does_not_have(hub):
    def download(name):
        raise _hub.HubHasNot(f"the Hub has no {name}")

    hub(download)
    with pytest.raises(ModelNotFound, match=r"no smolm2; did you mean smollm2\?"):
        resolve("smolm2")


def test_a_model_on_the_hub_with_pickles_only(tmp_path, write_folder, hub):
    folder = write_folder(tmp_path / "downloaded")
    (folder / "model.safetensors").unlink()
    hub(lambda name: folder)
    with pytest.raises(CheckpointError, match="no safetensors"):
        resolve("someone/old")


def test_offline_the_error_names_the_copy_in_the_catalogue():
    with pytest.raises(ModelNotFound) as caught:
        resolve("HuggingFaceTB/SmolLM2-135M-Instruct")
    message = str(caught.value)
    assert "did you mean smollm2?" in message and "no Hub in tests" in message
    assert "a model is built in, a name of the catalogue, a folder, a" in message


@pytest.mark.parametrize(
    "name", ["", " ", "./none", "/no/such/folder", "a/b/c", "../x", "~/none", "x y", "a\nb", "a/"]
)
def test_what_is_no_name_at_all(name):
    with pytest.raises(ModelNotFound, match="no model and no folder"):
        resolve(name)


def test_every_refusal_is_an_eyeline_error_on_one_line():
    with pytest.raises(EyelineError) as caught:
        resolve("evil\x1b[2J\nname")
    assert str(caught.value).isprintable()
