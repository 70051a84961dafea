"""One file holds all that going on needs."""

import pytest
import torch

from eyeline._errors import CheckpointError
from eyeline.train.state import FILE, State


def state():
    tensors = {"parameter.w": torch.randn(3, 2), "average.w": torch.randn(3, 2)}
    return State(
        7,
        tensors,
        torch.get_rng_state(),
        {"steps": 9, "betas": [0.9, 0.98]},
        curve=[(5, 1.25)],
        checks=[{"step": 5.0, "loss": 1.5}],
        seconds=3.5,
        since=[1.0, 2.0],
    )


def test_there_and_back(tmp_path):
    one = state()
    one.write(tmp_path / "run")
    two = State.read(tmp_path / "run")
    assert two is not None and two.tensors.keys() == one.tensors.keys()
    assert all(torch.equal(two.tensors[n], t) for n, t in one.tensors.items())
    for name in ("step", "settings", "curve", "checks", "seconds", "since"):
        assert getattr(two, name) == getattr(one, name), name
    torch.rand(5)
    two.restore_generator()
    assert torch.equal(torch.get_rng_state(), one.generator)


def test_no_file_is_no_run(tmp_path):
    assert State.read(tmp_path) is None


def test_half_a_file_is_refused(tmp_path):
    state().write(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="remove it to start afresh"):
        State.read(tmp_path)
