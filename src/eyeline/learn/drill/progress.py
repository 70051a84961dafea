"""What was answered, and when each question is due again (FSRS)."""

import os
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import platformdirs
from fsrs import Card, Rating, Scheduler

from eyeline.learn.database import database

__all__ = ["Answered", "DrillProgress", "default_path"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS card (
    question INTEGER PRIMARY KEY, card TEXT NOT NULL, due TEXT NOT NULL, asked INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS answer (
    id INTEGER PRIMARY KEY AUTOINCREMENT, question INTEGER NOT NULL, at TEXT NOT NULL,
    answer TEXT NOT NULL, right INTEGER NOT NULL, seconds REAL NOT NULL, mode TEXT NOT NULL
)
"""


def default_path() -> Path:
    """Where progress is kept: EYELINE_DATA, or the user's data folder for eyeline."""
    override = os.environ.get("EYELINE_DATA")
    root = Path(override).expanduser() if override else platformdirs.user_data_path("eyeline")
    return root.absolute() / "drill.db"


@dataclass(frozen=True)
class Answered:
    """How often a question was asked and answered right, and when it is due.

    Attributes:
        asked: How often.
        right: How often the answer was right.
        due: When it should be asked again, in UTC.
    """

    asked: int
    right: int
    due: datetime


class DrillProgress:
    """The progress of one learner.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = default_path() if path is None else path
        self._scheduler = Scheduler(enable_fuzzing=False)

    def answered(self) -> dict[int, Answered]:
        """Question number → what is known of it."""
        with database(self.path, _SCHEMA) as db:
            rows = db.execute(
                "SELECT card.question, asked, due, coalesce(sum(answer.right), 0) FROM card "
                "LEFT JOIN answer ON answer.question = card.question GROUP BY card.question"
            ).fetchall()
        return {
            question: Answered(asked, right, datetime.fromisoformat(due))
            for question, asked, due, right in rows
        }

    def asked(self, question: int) -> int:
        """How often a question was asked."""
        with database(self.path, _SCHEMA) as db:
            return self._card(db, question)[1]

    def record(
        self,
        question: int,
        answer: str,
        right: bool,
        seconds: float,
        mode: Literal["drill", "mock"] = "drill",
        now: datetime | None = None,
    ) -> datetime:
        """Keep an answer; when this returns it is on the disk.

        Args:
            question: Number of the question.
            answer: What was given.
            right: Whether it was right.
            seconds: How long it took.
            mode: Where it was asked.
            now: The time, in UTC.

        Returns:
            When the question is due again.
        """
        now = datetime.now(UTC) if now is None else now
        with database(self.path, _SCHEMA) as db:
            card, asked = self._card(db, question)
            rating = Rating.Good if right else Rating.Again
            card, _ = self._scheduler.review_card(card, rating, now)
            db.execute(
                "INSERT OR REPLACE INTO card (question, card, due, asked) VALUES (?, ?, ?, ?)",
                (question, card.to_json(), card.due.isoformat(), asked + 1),
            )
            db.execute(
                "INSERT INTO answer (question, at, answer, right, seconds, mode) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (question, now.isoformat(), answer[:100], int(right), seconds, mode),
            )
        return card.due

    def upcoming(self, numbers: list[int], now: datetime | None = None) -> int | None:
        """The question to ask next: one that is due, longest due first; else a new one.

        Args:
            numbers: Questions to choose from.
            now: The time, in UTC.

        Returns:
            Its number, or None if all were asked and none is due.
        """
        now = datetime.now(UTC) if now is None else now
        known = self.answered()
        due = sorted((known[n].due, n) for n in numbers if n in known and known[n].due <= now)
        if due:
            return due[0][1]
        return next((n for n in numbers if n not in known), None)

    def _card(self, db: sqlite3.Connection, question: int) -> tuple[Card, int]:
        found = db.execute(
            "SELECT card, asked FROM card WHERE question = ?", (question,)
        ).fetchone()
        if found is None:
            return Card(card_id=question), 0
        return Card.from_json(found[0]), found[1]
