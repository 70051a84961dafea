"""Helpers of these tests are importable; tiny tensors take one thread."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "sandbox"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def box():
    """One process for all tests whose code does no lasting harm to it."""
    from eyeline.learn.sandbox import Limits, Sandbox

    with Sandbox(Limits(seconds=10)) as made:
        yield made
