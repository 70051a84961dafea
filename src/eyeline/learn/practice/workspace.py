"""The learner's folder: their files, which nothing here ever overwrites, and their progress."""

import os
import shutil
from datetime import datetime
from pathlib import Path

from eyeline._errors import EyelineError
from eyeline.learn.master import Master, masters
from eyeline.learn.practice.progress import Progress

__all__ = ["Workspace"]

_PROGRESS = ".eyeline-practice.db"
_BACKUPS = "backups"
_LARGEST = 1 << 20


class Workspace:
    """A folder of exercises.

    Args:
        folder: The folder; default: the one that EYELINE_PRACTICE names, or this one if it holds
            exercises already, or `practice` inside it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            here, named = Path.cwd(), os.environ.get("EYELINE_PRACTICE")
            folder = here if (here / _PROGRESS).exists() else here / "practice"
            folder = Path(named).expanduser() if named else folder
        self.folder = folder.absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise EyelineError(f"{self.folder} is a file: name a folder with --folder")
        self.progress = Progress(self.folder / _PROGRESS)

    def prepare(self) -> list[Path]:
        """Write the files that are not there yet; those that are stay as they are.

        Returns:
            What was written.
        """
        missing = [one for one in masters() if not self.file(one).exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for one in missing:
                self._write(self.file(one), one.stub())
        except OSError as error:
            raise EyelineError(f"{self.folder} cannot be written to: {error.strerror}") from None
        return [self.file(one) for one in missing]

    def file(self, master: Master) -> Path:
        """Where the learner's file of an exercise stands."""
        return self.folder / f"{master.label}.py"

    def read(self, master: Master) -> str:
        """What the learner has written.

        Raises:
            EyelineError: There is no such file, or it is not text.
        """
        path = self.file(master)
        try:
            if path.stat().st_size > _LARGEST:
                raise EyelineError(f"{path} has more than 1 MB: that is no exercise")
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise EyelineError(f"{path} is not UTF-8 text: save it as UTF-8") from None
        except OSError as error:
            raise EyelineError(
                f"{path}: {error.strerror}; `eyeline practice next` writes what is missing"
            ) from None

    def reset(self, master: Master) -> Path | None:
        """The file as it was at first; what stood there goes to `backups/`.

        Returns:
            The backup, or None if there was nothing to keep.
        """
        path, backup = self.file(master), None
        try:
            if path.exists() and path.read_bytes() != master.stub().encode():
                backup = self._free_name(master)
                backup.parent.mkdir(exist_ok=True)
                shutil.copy2(path, backup)
            self._write(path, master.stub())
        except OSError as error:
            raise EyelineError(
                f"{path} cannot be reset: {error.strerror}; nothing was changed"
            ) from None
        return backup

    def upcoming(self) -> Master | None:
        """The first exercise that has not passed."""
        done = self.progress.done()
        waiting = (m for m in masters() if m.name not in done or not done[m.name].passed_at)
        return next(waiting, None)

    def _free_name(self, master: Master) -> Path:
        stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
        for count in range(1, 1000):
            suffix = "" if count == 1 else f"-{count}"
            found = self.folder / _BACKUPS / f"{master.label}.{stamp}{suffix}.py"
            if not found.exists():
                return found
        raise EyelineError(f"{self.folder / _BACKUPS} is full of backups: move some away")

    def _write(self, path: Path, text: str) -> None:
        """Whole or not at all."""
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
