"""Each layer of protection by itself, in a process that has no other."""

import subprocess
import sys
import textwrap

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own")


def confined(code: str, folder) -> list[str]:
    """Lines that code prints, with the system calls at hand and a folder of its own."""
    given = f"folder = {str(folder)!r}\nfrom eyeline.learn.sandbox import _syscalls\n"
    command = [sys.executable, "-c", given + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    if "skip" in done.stdout:
        pytest.skip(done.stdout)
    return done.stdout.split()


@linux
def test_landlock_leaves_one_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out.txt").write_text("before")
    said = confined(
        """
        from pathlib import Path
        _syscalls.no_new_privileges()
        try:
            _syscalls.write_only_beneath(folder + "/in")
        except OSError as error:
            print("skip: no Landlock here:", error); raise SystemExit
        Path(folder, "in", "mine.txt").write_text("mine")
        for act in (
            lambda: Path(folder, "out.txt").write_text("after"),
            lambda: Path(folder, "new.txt").touch(),
            lambda: Path(folder, "out.txt").unlink(),
        ):
            try:
                act(); print("did")
            except PermissionError:
                print("refused")
        print(Path(folder, "out.txt").read_text())
        """,
        tmp_path,
    )
    assert said == ["refused", "refused", "refused", "before"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["mine.txt"]
    assert (tmp_path / "out.txt").read_text() == "before" and not (tmp_path / "new.txt").exists()


@linux
def test_seccomp_leaves_threads(tmp_path):
    said = confined(
        """
        import os, socket, subprocess, sys, threading
        _syscalls.no_new_privileges()
        try:
            _syscalls.no_processes_no_network()
        except OSError as error:
            print("skip: no filter here:", error); raise SystemExit
        for act in (
            os.fork,
            lambda: subprocess.run([sys.executable, "-c", ""]),
            lambda: socket.socket(),
            lambda: os.kill(os.getppid(), 0),
        ):
            try:
                act(); print("did")
            except PermissionError:
                print("refused")
        thread = threading.Thread(target=lambda: print("thread"))
        thread.start(); thread.join()
        """,
        tmp_path,
    )
    assert said == ["refused"] * 4 + ["thread"]


@linux
def test_limits_hold(tmp_path):
    said = confined(
        """
        import resource
        from pathlib import Path
        from eyeline.learn.sandbox import Limits, _confine
        _confine._limit(Limits(seconds=1.0, memory=1 << 28, file=4096))
        try:
            held = bytearray(1 << 30); print("did")
        except MemoryError:
            print("refused")
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            Path(folder, "large").write_bytes(bytes(8192)); print("did")
        except OSError:
            print("refused")
        print(resource.getrlimit(resource.RLIMIT_CORE)[0])
        """,
        tmp_path,
    )
    assert said == ["refused", "refused", "0"]
