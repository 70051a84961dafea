"""Saves are seen, however an editor saves."""

import os

import pytest

from eyeline.learn.master import find
from eyeline.learn.practice.watching import saved
from eyeline.learn.practice.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "mine")
    made.prepare()
    return made


def test_what_changed_is_told_once(workspace):
    scale, rotary = find("scale"), find("rotary")
    path = workspace.file(scale)
    size = len(path.read_text())

    def replaced():
        path.with_name("new").write_text("# replaced")
        path.with_name("new").replace(path)

    def same_size_same_time():
        before = path.stat()
        path.write_text("# REPLACED")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    steps = iter(
        [
            lambda: None,
            lambda: path.write_text("# " + "x" * size),
            lambda: None,
            replaced,
            same_size_same_time,
            path.unlink,
            lambda: workspace.file(rotary).write_text("# y"),
            lambda: path.write_text("# z"),
        ]
    )
    seen = []
    with pytest.raises(RuntimeError):  # the steps are over
        for master in saved(workspace, sleep=lambda _: next(steps)()):
            seen.append(master.number)
    assert seen == [6, 6, 6, 20, 6]
