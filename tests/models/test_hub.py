import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from eyeline.models import _hub

huggingface_hub = pytest.importorskip("huggingface_hub")
REQUIRE_HUB = _hub.require_hub  # before the fixture that keeps tests off the network


@pytest.fixture
def answer(monkeypatch):
    """Let the Hub answer a HEAD request with a function."""

    def install(head) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "is_offline_mode", lambda: False)
        session = SimpleNamespace(head=head)
        monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: session)

    return install


def test_a_hub_that_answers(answer):
    answer(lambda url, timeout: None)
    REQUIRE_HUB()


def test_a_hub_that_refuses(answer):
    def head(url, timeout):
        raise OSError("name not known")

    answer(head)
    with pytest.raises(_hub.HubUnavailable, match="name not known"):
        REQUIRE_HUB()


def test_a_hub_that_does_not_answer_is_given_up(answer, monkeypatch):
    monkeypatch.setattr(_hub, "_SECONDS_TO_ANSWER", 0.05)
    answer(lambda url, timeout: time.sleep(0.5))
    start = time.perf_counter()
    with pytest.raises(_hub.HubUnavailable, match="no answer"):
        REQUIRE_HUB()
    assert time.perf_counter() - start < 0.4


def test_offline_mode_is_respected(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "is_offline_mode", lambda: True)
    with pytest.raises(_hub.HubUnavailable, match="HF_HUB_OFFLINE"):
        REQUIRE_HUB()


def test_only_numbers_and_texts_are_downloaded_and_quietly(tmp_path, monkeypatch, capfd):
    repository = [
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "spiece.model",
        "chat_template.jinja",
        "pytorch_model.bin",
        "modeling_custom.py",
        "onnx/model.safetensors",
        "consolidated.safetensors",
    ]
    kept: list[str] = []

    def snapshot_download(hub_id, *, allow_patterns, ignore_patterns, local_dir, **_options):
        from huggingface_hub.utils import are_progress_bars_disabled, filter_repo_objects

        kept.extend(
            filter_repo_objects(
                repository, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
            )
        )
        assert are_progress_bars_disabled()
        logging.getLogger("huggingface_hub").error("noise")
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert _hub.download("a/b", revision="c", into=tmp_path) == tmp_path
    assert kept == repository[:5]
    assert capfd.readouterr() == ("", "")


def failing(monkeypatch, error: Exception) -> None:
    def snapshot_download(*_args, **_options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


def test_a_lost_connection(monkeypatch):
    failing(monkeypatch, ConnectionError("lost.\nTry again. And more"))
    with pytest.raises(_hub.HubUnavailable, match=r"^lost$"):
        _hub.download("a/b")


def test_a_name_that_cannot_be_one():
    with pytest.raises(_hub.HubHasNot, match="no a--b"):
        _hub.download("a--b")


def test_what_is_not_in_the_local_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(_hub.HubUnavailable):
        _hub.from_local_cache("someone/nothing-here")


def test_what_is_in_the_local_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    (snapshot / "config.json").write_text("{}", encoding="utf-8")
    assert _hub.from_local_cache("someone/tiny") == Path(snapshot)


def test_where_the_hub_keeps_a_models_files(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    expected = tmp_path / "models--someone--some" / "blobs"
    assert _hub.blobs_folder("someone/some") == expected
