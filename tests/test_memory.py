import os
import sys
from pathlib import Path

import pytest
import torch

from eyeline._memory import available_memory, give_back


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


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say")
def test_what_nobody_uses_is_given_back():
    """Blocks too small for pages of their own, every other one freed: glibc keeps them all."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not give_back():
        pytest.skip("not glibc")
    held = [torch.zeros(25_000) for _ in range(1000)]  # 100 MB
    held = held[::2]
    before = resident()
    assert give_back() and before - resident() > 30e6
    assert len(held) == 500


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_another_allocator_keeps_what_it_has(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    assert not give_back()
