import os
import sys
from pathlib import Path

import pytest
import torch

from eyeline._memory import available_memory, free_memory, give_back


def test_there_is_some():
    found = available_memory()
    assert found is None or 2**20 < found < 2**50


def test_elsewhere_all_of_it_counts_where_that_will_do(monkeypatch):
    """A Mac says how much memory there is, not how much is free."""

    def unknown(*_, **__):
        raise OSError

    def all_of_it(name):
        if name == "SC_AVPHYS_PAGES":
            raise ValueError("unrecognized configuration name")
        return {"SC_PHYS_PAGES": 2**22, "SC_PAGE_SIZE": 2**12}[name]

    monkeypatch.setattr(Path, "read_text", unknown)
    monkeypatch.setattr(os, "sysconf", all_of_it, raising=False)
    assert available_memory() == 2**34 and free_memory() is None
    monkeypatch.setattr(os, "sysconf", unknown)
    assert available_memory() is None and free_memory() is None


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
