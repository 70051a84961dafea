"""Progress of clients that report nothing: a folder that grows."""

import threading

import pytest

from eyeline.models import _progress
from eyeline.models._progress import reported, silent


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(_progress, "_SECONDS", 0.005)


class Listener:
    def __init__(self):
        self.reports: list[tuple[str, int, int | None]] = []
        self.heard = threading.Event()

    def __call__(self, stage, done, total):
        self.reports.append((stage, done, total))
        if done:
            self.heard.set()


def test_a_known_total_is_reported_from_0_to_the_end(tmp_path):
    listener = Listener()
    with reported(tmp_path / "new", "hub", 100, listener):
        assert listener.reports == [("hub", 0, 100)]
        (tmp_path / "new" / "sub").mkdir(parents=True)
        (tmp_path / "new" / "sub" / "file").write_bytes(bytes(60))
        assert listener.heard.wait(5)
    assert ("hub", 60, 100) in listener.reports
    assert listener.reports[-1] == ("hub", 100, 100)


def test_never_more_than_the_total(tmp_path):
    listener = Listener()
    with reported(tmp_path, "hub", 10, listener):
        (tmp_path / "file").write_bytes(bytes(99))
        assert listener.heard.wait(5)
    assert max(done for _, done, _ in listener.reports) == 10


def test_without_a_total_growth_is_reported_and_nothing_else(tmp_path):
    (tmp_path / "old").write_bytes(bytes(1000))
    listener = Listener()
    with reported(tmp_path, "hub", None, listener):
        assert listener.reports == []
        (tmp_path / "file").write_bytes(bytes(7))
        assert listener.heard.wait(5)
    assert listener.reports[0] == ("hub", 7, None) and listener.reports[-1] == ("hub", 7, 7)


def test_what_is_there_already_is_no_progress(tmp_path):
    (tmp_path / "old").write_bytes(bytes(1000))
    listener = Listener()
    with reported(tmp_path, "hub", None, listener):
        pass
    assert listener.reports == []


def test_after_an_error_nobody_watches_and_nothing_is_complete(tmp_path):
    listener = Listener()
    with pytest.raises(ZeroDivisionError), reported(tmp_path, "hub", 100, listener):
        raise ZeroDivisionError
    assert ("hub", 100, 100) not in listener.reports
    assert not any(t.name == "eyeline-progress" for t in threading.enumerate())


def test_no_thread_for_nobody(tmp_path):
    with reported(tmp_path, "hub", 100, silent):
        assert not any(t.name == "eyeline-progress" for t in threading.enumerate())
    assert silent("hub", 1, 2) is None
