"""A run: it learns, goes on where it stopped, refuses what cannot be gone on from."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from _toy import Alphabet
from eyeline._errors import CheckpointError, EyelineError
from eyeline.train import Settings, train
from eyeline.train.state import FILE


def test_it_learns(tmp_path):
    run = train(Alphabet(), tmp_path)
    assert run.step == 40 and run.checks[-1]["nats"] < 0.6 * run.checks[0]["nats"]
    assert [c["step"] for c in run.checks] == [10, 20, 30, 40] and run.watched == "nats"
    assert [step for step, _ in run.curve] == [25]


def test_the_same_seed_the_same_numbers_another_another(tmp_path):
    one, two = (train(Alphabet(dropout=0.2), tmp_path / name) for name in "ab")
    assert one.curve == two.curve and one.checks == two.checks
    other = dataclasses.replace(Alphabet().settings, seed=2)
    assert train(Alphabet(other, dropout=0.2), tmp_path / "c").curve != one.curve


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_that_was_stopped_goes_on_as_if_it_never_was(tmp_path, optimizer):
    """Dropout, averages, optimizer and schedule included."""
    settings = dataclasses.replace(Alphabet().settings, optimizer=optimizer)
    whole = train(Alphabet(settings, dropout=0.2), tmp_path / "whole")

    class Enough(Exception):
        pass

    def stop(run):
        if run.step == 27:  # between two checkpoints
            raise Enough

    with pytest.raises(Enough):
        train(Alphabet(settings, dropout=0.2), tmp_path / "cut", progress=stop)
    again = train(Alphabet(settings, dropout=0.2), tmp_path / "cut")
    assert again.step == 40 and again.curve == whole.curve
    assert [c["nats"] for c in again.checks] == [c["nats"] for c in whole.checks]
    for mine, its in zip(again.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(mine, its)
    untouched = train(Alphabet(settings, dropout=0.2), tmp_path / "cut")  # nothing is left to do
    assert untouched.step == 40 and untouched.checks == again.checks


def test_fresh_starts_anew(tmp_path):
    train(Alphabet(), tmp_path)
    steps = []
    train(Alphabet(), tmp_path, resume=False, progress=lambda run: steps.append(run.step))
    assert steps[0] == 1 and len(steps) == 40


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    code = """
        import sys; sys.path.insert(0, sys.argv[1])
        from _toy import Alphabet
        from eyeline.train import Settings, train
        many = Settings(steps=100_000, learning_rate=1e-3, save_every=1, check_every=10**6)
        train(Alphabet(many), sys.argv[2], progress=lambda run: print(run.step, flush=True))
    """
    settings = Settings(steps=100_000, learning_rate=1e-3, save_every=1, check_every=10**6)
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(code),
        str(Path(__file__).parent.parent),
        str(tmp_path),
    ]
    last = 0
    for lines in (3, 5):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        process.stdout.close()
        assert said[0] == last + 1 or last == 0
        from eyeline.train.state import State

        state = State.read(tmp_path)
        assert state is not None and state.step >= said[-1] and state.settings["steps"] == 100_000
        last = state.step
    assert settings.save_every == 1


def test_nan_ends_the_run_and_says_where(tmp_path):
    with pytest.raises(
        EyelineError, match=r"the loss is nan at step 15: .* lower the learning rate"
    ):
        train(Alphabet(spoil=15), tmp_path)
    from eyeline.train.state import State

    assert State.read(tmp_path).step == 10


def test_it_ends_early_when_nothing_becomes_better(tmp_path):
    settings = Settings(
        steps=400, learning_rate=0.0, warmup=1, check_every=5, patience=3, precision="float32"
    )
    run = train(Alphabet(settings), tmp_path)
    assert run.step == 20 and len(run.checks) == 4


def test_another_recipe_does_not_go_on_from_it(tmp_path):
    train(Alphabet(), tmp_path)
    other = dataclasses.replace(Alphabet().settings, learning_rate=0.5)
    with pytest.raises(EyelineError, match=r"learning_rate was 0\.01, is 0\.5"):
        train(Alphabet(other), tmp_path)
    wider = Alphabet()
    wider.config = dataclasses.replace(wider.config, embed_dim=32)
    with pytest.raises(EyelineError, match="run of another network"):
        train(wider, tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_checkpoint_is_no_checkpoint(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="remove it to start afresh"):
        train(Alphabet(), tmp_path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    train(Alphabet(), tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(
        EyelineError, match="No space left on device; the checkpoint that was there"
    ):
        train(Alphabet(), tmp_path, resume=False)
    assert (tmp_path / FILE).read_bytes() == before and list(tmp_path.iterdir()) == [
        tmp_path / FILE
    ]


PROCESSES = """
    import dataclasses, sys; sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    from _toy import Alphabet
    from eyeline.train import publish, train
    wanted = {"optimizer": sys.argv[4], "steps": int(sys.argv[5])}
    settings = dataclasses.replace(Alphabet().settings, **wanted)
    run = train(Alphabet(settings), sys.argv[2], shard=sys.argv[3] == "shard")
    publish(run, Path(sys.argv[2], "model"))
    if run.processes.first:
        Path(sys.argv[2], "said").write_text(f"{run.loss} {run.processes.count}")
    run.processes.end()
"""


@pytest.mark.parametrize("how", ["whole", "shard"])
@pytest.mark.parametrize(
    ("optimizer", "steps", "near", "alike"),
    # Muon works in bfloat16: sums in another order round to another step, and steps add up
    [("adamw", 40, 1e-5, 1e-3), ("muon", 8, 1e-4, 3e-3)],
)
def test_two_processes_learn_what_one_does(tmp_path, how, optimizer, steps, near, alike):
    settings = dataclasses.replace(Alphabet().settings, optimizer=optimizer, steps=steps)
    alone = train(Alphabet(settings), tmp_path / "alone")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PROCESSES))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += [str(script), str(Path(__file__).parent.parent), str(tmp_path), how]
    command += [optimizer, str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    loss, count = (tmp_path / "said").read_text().split()
    assert count == "2" and abs(float(loss) - alone.loss) < near
    assert (tmp_path / "model" / "model.safetensors").exists()
    # and one process goes on from what two have written
    again = train(Alphabet(settings), tmp_path)
    for mine, its in zip(again.network.parameters(), alone.network.parameters(), strict=True):
        torch.testing.assert_close(mine, its, atol=alike, rtol=alike)
