"""Nothing a learner wrote is lost."""

import pytest

from eyeline._errors import EyelineError
from eyeline.learn.master import find, masters
from eyeline.learn.practice.progress import Done, Progress
from eyeline.learn.practice.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "mine")
    made.prepare()
    return made


def test_all_files_are_there(workspace):
    assert len(list(workspace.folder.glob("[0-9]*.py"))) == 28
    assert workspace.upcoming().number == 1
    assert workspace.prepare() == []


def test_what_is_there_is_never_overwritten(workspace):
    path = workspace.file(find("scale"))
    path.write_text("# mine")
    workspace.file(find("rotary")).unlink()
    assert workspace.prepare() == [workspace.file(find("rotary"))]
    assert path.read_text() == "# mine"


def test_reset_keeps_a_backup_each_time(workspace):
    master = find("scale")
    path = workspace.file(master)
    for text in ("# first", "# second", "# third"):
        path.write_text(text)
        assert workspace.reset(master).read_text() == text
        assert path.read_text() == master.stub()
    assert len(list((workspace.folder / "backups").iterdir())) == 3
    assert workspace.reset(master) is None


def test_a_file_that_cannot_be_read(workspace):
    master = find("scale")
    workspace.file(master).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EyelineError, match="UTF-8"):
        workspace.read(master)
    workspace.file(master).write_bytes(b"#" * (2 << 20))
    with pytest.raises(EyelineError, match="more than 1 MB"):
        workspace.read(master)
    workspace.file(master).unlink()
    with pytest.raises(EyelineError, match="writes what is missing"):
        workspace.read(master)
    (workspace.folder / "x").touch()
    with pytest.raises(EyelineError, match="is a file"):
        Workspace(workspace.folder / "x")


def test_where_it_is(tmp_path, monkeypatch):
    monkeypatch.delenv("EYELINE_PRACTICE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Workspace().folder == tmp_path / "practice"
    Workspace(tmp_path).progress.ran("scale", True)
    assert Workspace().folder == tmp_path
    monkeypatch.setenv("EYELINE_PRACTICE", str(tmp_path / "other"))
    assert Workspace().folder == tmp_path / "other"


def test_progress(tmp_path):
    progress = Progress(tmp_path / "p.db")
    assert progress.done() == {}
    progress.ran("scale", False)
    progress.hinted("scale", 2)
    progress.hinted("scale", 1)
    progress.gave_up("rotary")
    progress.ran("scale", True)
    progress.ran("scale", False)
    done = progress.done()
    assert (done["scale"].runs, done["scale"].hints) == (3, 2) and done["scale"].passed_at
    assert done["rotary"] == Done(gave_up=True)
    assert progress.first_time("x") and not progress.first_time("x")


def test_progress_that_was_removed_is_put_back(tmp_path):
    progress = Progress(tmp_path / "p.db")
    progress.ran("scale", True)
    before = progress.done()
    assert not progress.restore(before)
    for harm in (progress.path.unlink, lambda: progress.path.write_bytes(b"x" * 5000)):
        for extra in tmp_path.glob("p.db-*"):
            extra.unlink()
        harm()
        assert progress.restore(before)
        assert progress.done() == before


def test_upcoming_skips_what_has_passed(workspace):
    for one in masters()[:3]:
        workspace.progress.ran(one.name, True)
    workspace.progress.ran(masters()[4].name, True)
    assert workspace.upcoming().number == 4
    for one in masters():
        workspace.progress.ran(one.name, True)
    assert workspace.upcoming() is None
