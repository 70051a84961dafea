import os
from pathlib import Path

import pytest

from eyeline.models._memory import available_memory


def test_there_is_some():
    found = available_memory()
    assert found is None or 2**20 < found < 2**50


def test_elsewhere_all_of_it_counts(monkeypatch):
    def unknown(*_, **__):
        raise OSError

    monkeypatch.setattr(Path, "read_text", unknown)
    if hasattr(os, "sysconf"):
        assert (available_memory() or 0) > 2**20
        monkeypatch.setattr(os, "sysconf", unknown)
    assert available_memory() is None
    with pytest.raises(OSError):
        Path("/").read_text()
