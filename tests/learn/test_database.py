"""One transaction: all of it, or nothing."""

import pytest

from eyeline._errors import EyelineError
from eyeline.learn.database import database

SCHEMA = "CREATE TABLE IF NOT EXISTS t (x INTEGER)"


def rows(path):
    with database(path, SCHEMA) as db:
        return [x for (x,) in db.execute("SELECT x FROM t")]


def test_written_is_written(tmp_path):
    path = tmp_path / "deep" / "er" / "x.db"
    with database(path, SCHEMA) as db:
        db.execute("INSERT INTO t VALUES (1)")
    assert rows(path) == [1]
    with database(path, SCHEMA) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_an_error_inside_writes_nothing(tmp_path):
    path = tmp_path / "x.db"
    with pytest.raises(ZeroDivisionError), database(path, SCHEMA) as db:
        db.execute("INSERT INTO t VALUES (1)")
        1 / 0  # noqa: B018
    assert rows(path) == []


def test_what_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "x.db"
    path.write_text("something else " * 100)
    with pytest.raises(EyelineError, match="move the file away"):
        rows(path)
    assert path.read_text() == "something else " * 100
