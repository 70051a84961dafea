"""Progress on disk: SQLite, so that nothing is lost to a kill, a crash or a second process."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from eyeline._errors import EyelineError

__all__ = ["database"]

_WAIT = 20.0
"""Seconds to wait for another process that is writing."""


@contextmanager
def database(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """One transaction: what is written inside is on the disk when the block ends, or not at all.

    Args:
        path: The file; it is made if it is not there.
        schema: `CREATE TABLE IF NOT EXISTS …` statements.

    Raises:
        EyelineError: The file cannot be opened, is no database, or is damaged. It is left alone.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_WAIT, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")  # WAL's default may lose the last commit
            for statement in filter(str.strip, schema.split(";")):
                connection.execute(statement)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise EyelineError(
            f"progress cannot be kept in {path}: {error}; make the folder writable, or move the "
            "file away to begin anew"
        ) from None
