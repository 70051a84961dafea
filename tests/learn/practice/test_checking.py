"""A check is remembered, and what it removes is put back."""

import pytest

from eyeline.learn.master import find
from eyeline.learn.practice.checking import check
from eyeline.learn.practice.workspace import Workspace
from eyeline.learn.sandbox import Limits, Sandbox


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "cache"))
    made = Workspace(tmp_path / "mine")
    made.prepare()
    return made


def test_verdict_first_then_the_reward(workspace):
    master, order = find("scale"), []
    workspace.file(master).write_text(master.solution())
    with Sandbox() as box:
        checked = check(workspace, master, box, lambda one: order.append(one.shown))
    assert order == [None] and checked.shown is not None and checked.verdict.ok
    done = workspace.progress.done()["scale"]
    assert done.runs == 1 and done.passed_at
    assert checked.to_dict()["reward"]["lines"]


def test_passing_the_probes_only(workspace):
    """Code that does something else in the model, which it can tell by the number of tokens."""
    master = find("scale")
    line = "    return query @ key.transpose(-2, -1)"
    trick = "    if query.shape[-2] > 9: raise OSError('not here')\n" + line
    workspace.file(master).write_text(master.solution().replace(line, trick))
    with Sandbox() as box:
        checked = check(workspace, master, box)
    assert checked.verdict.ok and checked.shown is None and "not here" in checked.note


def test_progress_survives_without_protection_of_files(workspace, monkeypatch):
    """As on a system that lets the code remove the file."""
    master = find("scale")
    workspace.progress.ran("rotary", True)
    source = "import os\nfor _ in range(2):\n    pass\n" + master.solution()
    workspace.file(master).write_text(source)
    from eyeline.learn.practice import checking

    def judge(*args):
        verdict = real(*args)
        for path in workspace.folder.glob(".eyeline-practice.db*"):
            path.unlink()
        return verdict

    real = checking.judge
    monkeypatch.setattr(checking, "judge", judge)
    with Sandbox(Limits()) as box:
        checked = check(workspace, master, box)
    assert "put back" in checked.note
    assert workspace.progress.done()["rotary"].passed_at
    assert workspace.progress.done()["scale"].passed_at
