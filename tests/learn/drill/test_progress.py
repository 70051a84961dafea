"""Nothing that was saved is lost: to time, to a kill, to a second process."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from eyeline._errors import EyelineError
from eyeline.learn.drill.progress import DrillProgress

NOW = datetime(2026, 1, 1, tzinfo=UTC)

WRITER = """
import sys
from pathlib import Path
from eyeline.learn.drill.progress import DrillProgress
progress = DrillProgress(Path(sys.argv[1]))
for n in range(int(sys.argv[2])):
    progress.record(1 + n % 76, sys.argv[3], n % 3 > 0, 0.5)
    print(n + 1, flush=True)
"""


@pytest.fixture
def progress(tmp_path):
    return DrillProgress(tmp_path / "drill.db")


def count(progress):
    with sqlite3.connect(progress.path) as db:
        found = db.execute("SELECT count(*) FROM answer").fetchone()[0]
    db.close()
    return found


def start(progress, writes, name):
    command = [sys.executable, "-c", WRITER, str(progress.path), str(writes), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_missed_question_returns_sooner(progress):
    missed = progress.record(1, "a", False, 3.0, now=NOW)
    known = progress.record(2, "b", True, 3.0, now=NOW)
    assert NOW < missed < known
    later = NOW
    for _ in range(4):
        later = progress.record(2, "b", True, 3.0, now=later)
    assert later - NOW > timedelta(days=10), "what is known comes back ever later"
    assert progress.answered()[2].right == 5 and progress.answered()[1].right == 0


def test_what_is_asked_next(progress):
    assert progress.upcoming([1, 2, 3], NOW) == 1
    progress.record(1, "a", False, 1.0, now=NOW)
    assert progress.upcoming([1, 2, 3], NOW) == 2
    assert progress.upcoming([1, 2, 3], NOW + timedelta(hours=1)) == 1
    assert progress.upcoming([1], NOW) is None


def test_two_processes_at_once(progress):
    both = [start(progress, 25, name) for name in "ab"]
    for one in both:
        assert one.wait(60) == 0
        one.stdout.close()
    assert count(progress) == 50
    assert sum(one.asked for one in progress.answered().values()) == 50


@pytest.mark.parametrize("after", [1, 7])
def test_killed_in_the_middle(progress, after):
    kill(progress, after)


@pytest.mark.slow
@pytest.mark.parametrize("after", range(1, 16))
def test_killed_at_many_points(progress, after):
    kill(progress, after)


def kill(progress, after):
    """SIGKILL while it writes: what it said was saved is there."""
    writer = start(progress, 10_000, "k")
    said = 0
    while said < after:
        said = int(writer.stdout.readline())
    time.sleep(0.001 * (after % 5))
    writer.send_signal(signal.SIGKILL)
    said = max([said, *(int(line) for line in writer.stdout.read().split())])
    writer.stdout.close()
    writer.wait()
    assert said <= count(progress) <= said + 1
    progress.record(1, "a", True, 1.0)
    assert count(progress) >= said + 1


def test_a_file_that_is_no_database(progress):
    progress.path.write_bytes(b"not a database" * 100)
    with pytest.raises(EyelineError, match="progress cannot be kept"):
        progress.answered()
    assert progress.path.read_bytes() == b"not a database" * 100


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EyelineError, match="progress cannot be kept"):
        DrillProgress(tmp_path / "file" / "drill.db").answered()


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("EYELINE_DATA", str(tmp_path))
    assert DrillProgress().path == tmp_path / "drill.db"
    monkeypatch.delenv("EYELINE_DATA")
    assert DrillProgress().path.name == "drill.db" and os.fspath(tmp_path) not in str(
        DrillProgress().path
    )
