"""What a learner has done: which exercises passed, how many hints they saw."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from eyeline._errors import EyelineError
from eyeline.learn.database import database

__all__ = ["Done", "Progress"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS practice (
    exercise TEXT PRIMARY KEY, runs INTEGER NOT NULL DEFAULT 0, hints INTEGER NOT NULL DEFAULT 0,
    passed_at TEXT, gave_up INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS told (what TEXT PRIMARY KEY)
"""


@dataclass(frozen=True)
class Done:
    """What was done with one exercise.

    Attributes:
        runs: How often it was checked.
        hints: How many hints were shown.
        passed_at: When it first passed, in UTC (ISO 8601), or None.
        gave_up: Whether the solution was asked for before that.
    """

    runs: int = 0
    hints: int = 0
    passed_at: str | None = None
    gave_up: bool = False


class Progress:
    """The progress in one folder.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def done(self) -> dict[str, Done]:
        """Exercise name → what was done with it."""
        with database(self.path, _SCHEMA) as db:
            rows = db.execute("SELECT exercise, runs, hints, passed_at, gave_up FROM practice")
            return {name: Done(runs, hints, at, bool(up)) for name, runs, hints, at, up in rows}

    def ran(self, exercise: str, passed: bool) -> None:
        """It was checked. Once passed it stays so."""
        now = datetime.now(UTC).isoformat(timespec="seconds") if passed else None
        with database(self.path, _SCHEMA) as db:
            db.execute(
                "INSERT INTO practice (exercise, runs, passed_at) VALUES (?, 1, ?) ON CONFLICT DO "
                "UPDATE SET runs = runs + 1, passed_at = coalesce(passed_at, excluded.passed_at)",
                (exercise, now),
            )

    def hinted(self, exercise: str, count: int) -> None:
        """`count` hints have been shown."""
        with database(self.path, _SCHEMA) as db:
            db.execute(
                "INSERT INTO practice (exercise, hints) VALUES (?, ?) ON CONFLICT DO UPDATE SET "
                "hints = max(hints, excluded.hints)",
                (exercise, count),
            )

    def gave_up(self, exercise: str) -> None:
        """The solution was shown before it passed."""
        with database(self.path, _SCHEMA) as db:
            db.execute(
                "INSERT INTO practice (exercise, gave_up) VALUES (?, 1) ON CONFLICT DO UPDATE SET "
                "gave_up = 1",
                (exercise,),
            )

    def first_time(self, what: str) -> bool:
        """True once for each `what`: something that is to be said only once."""
        with database(self.path, _SCHEMA) as db:
            return db.execute("INSERT OR IGNORE INTO told VALUES (?)", (what,)).rowcount == 1

    def restore(self, before: dict[str, Done]) -> bool:
        """Bring back what a learner's code has removed, where the system could not prevent it.

        Args:
            before: What stood there.

        Returns:
            Whether anything had to be brought back.
        """
        try:
            now = self.done()
        except EyelineError:
            aside = self.path.with_name(f"{self.path.name}.damaged")
            with suppress(OSError):
                self.path.replace(aside)
            now = {}
        lost = {name: one for name, one in before.items() if _less(now.get(name), one)}
        with database(self.path, _SCHEMA) as db:
            db.executemany(
                "INSERT OR REPLACE INTO practice (exercise, runs, hints, passed_at, gave_up) "
                "VALUES (?, ?, ?, ?, ?)",
                [
                    (name, one.runs, one.hints, one.passed_at, int(one.gave_up))
                    for name, one in lost.items()
                ],
            )
        return bool(lost)


def _less(now: Done | None, before: Done) -> bool:
    if now is None:
        return True
    if now.runs < before.runs or now.hints < before.hints:
        return True
    return before.passed_at is not None and now.passed_at is None
