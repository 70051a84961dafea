"""Foreign code gets so many seconds, and what it prints goes nowhere near ours."""

import contextlib
import io
import signal
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType

__all__ = ["SECONDS", "Heard", "TimeIsUp", "listening", "time_limit"]

SECONDS: ContextVar[float] = ContextVar("seconds", default=20.0)
"""How long one call of a candidate may take."""


class TimeIsUp(BaseException):
    """Raised inside the foreign code; not an `Exception`, so that it does not swallow it."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """End what runs inside after `SECONDS` with `TimeIsUp`.

    Python code is interrupted between two of its steps: one call into a library goes on until it
    returns. Only the main thread of a POSIX system can be interrupted; elsewhere there is no limit.
    """
    seconds = SECONDS.get()
    here = threading.current_thread() is threading.main_thread()
    if not here or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    # again and again: a bare `except:` inside a loop swallows the first one
    handler = signal.signal(signal.SIGALRM, ring)
    before, every = signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if before:  # somebody else's alarm, later than it was due by what we took
            signal.setitimer(signal.ITIMER_REAL, before, every)


class Heard(io.TextIOBase):
    """Takes in what is printed and keeps its beginning.

    Attributes:
        beginning: The first characters.
        count: How many there were in all.
    """

    KEEP = 200

    def __init__(self) -> None:
        self.beginning, self.count = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self.count += len(text)
        self.beginning += text[: self.KEEP - len(self.beginning)]
        return len(text)


@contextlib.contextmanager
def listening() -> Iterator[Heard]:
    """What Python code inside prints goes into the yielded `Heard`, not to the terminal."""
    heard = Heard()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
        yield heard
