"""The parent's side: start the process, ask it, end it in time.

This imports no torch: the process is started first, and both import it at the same time.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from eyeline._errors import EyelineError
from eyeline.learn.sandbox.calls import Call
from eyeline.learn.sandbox.limits import Limits
from eyeline.learn.sandbox.protection import Protection, namespaces, protection

__all__ = ["Reply", "Sandbox"]

Stop = Literal["time", "printed", "answer", "ended", "protocol"]
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from eyeline.learn.sandbox import _child; _child.main(int(sys.argv[2]), int(sys.argv[3]))"
)
_SHOWN = 20_000
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_CHUNK = 1 << 16
_REAPED = 0.5


@dataclass(frozen=True)
class Reply:
    """What came back for one request.

    Attributes:
        answer: Data out of the child, or None if it was stopped. It is to be believed nothing: look
            at its type before you use it.
        stopped: None; or why there is no answer: "time", "printed" (too much output), "answer" (too
            large), "ended" (the process ended by itself) or "protocol" (no frame came back).
        printed: What the code printed, at most 20 kB of it.
        exit_code: Exit status of the process, where it ended by itself; -9 is SIGKILL.
        seconds: How long it took.
    """

    answer: Any
    stopped: Stop | None
    printed: str
    exit_code: int | None
    seconds: float


class Sandbox:
    """One process for one learner's file.

    It starts when it is made and imports torch meanwhile, so whoever makes it early waits less.
    After a `stopped` reply it is of no more use.

    Args:
        limits: How much each request may take.
        hidden: Folders that shall look empty in there, where the system can do that.
        confined: False leaves out namespaces, to test the protection that other systems have.

    Raises:
        EyelineError: This system cannot do it.

    Example:
        >>> with Sandbox() as box:                                               # doctest: +SKIP
        ...     box.load("def double(x): return 2 * x", "double.py")
        ...     box.call([Call("double", (torch.ones(2),))]).answer
    """

    def __init__(
        self, limits: Limits | None = None, hidden: Sequence[Path] = (), *, confined: bool = True
    ) -> None:
        if os.name != "posix":
            raise EyelineError("a learner's process needs Linux or macOS (on Windows: WSL)")
        self.limits = Limits() if limits is None else limits
        self._hidden = [str(one) for one in hidden]
        self._scratch = tempfile.mkdtemp(prefix="eyeline-practice-")
        self._printed = bytearray()
        self._protection: Protection | None = None
        wrapper = namespaces() if confined else None
        self._own_namespaces = wrapper is not None
        # a socket, for writing to a pipe that nobody reads would end this process where the command
        # line has given SIGPIPE its old meaning
        self._requests, requests = socket.socketpair()
        self._answers, answers = os.pipe()
        self._output, output = os.pipe()
        paths = [entry for entry in sys.path if entry]
        python = [sys.executable, "-B", "-P", "-c", _START, json.dumps(paths)]
        command = [*(wrapper or ()), *python, str(requests.fileno()), str(answers)]
        if (setpriv := shutil.which("setpriv")) and sys.platform == "linux":
            command = [setpriv, "--pdeathsig", "KILL", "--", *command]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(requests.fileno(), answers),
                env=_environment(),
                start_new_session=True,
            )
        finally:
            requests.close()
            os.close(answers)
            os.close(output)
        self._requests.setblocking(False)
        for end in (self._answers, self._output):
            os.set_blocking(end, False)
        self._closed = False

    def start(self) -> Protection:
        """Wait until torch is there and what can be given up has been; only once.

        Raises:
            RuntimeError: The process did not come up: something is wrong with this installation.
        """
        if self._protection is None:
            first = {"limits": asdict(self.limits), "scratch": self._scratch}
            first |= {"hidden": self._hidden, "own_namespaces": self._own_namespaces}
            reply = self._ask(first, self.limits.start)
            if reply.answer is None:
                raise RuntimeError(f"the learner's process did not start: {reply.printed[-2000:]}")
            self._printed.clear()
            self._protection = protection(reply.answer["layers"])
        return self._protection

    def load(self, source: str, path: str) -> Reply:
        """Run a file's text as a module. The answer is `{"names": …}` or `{"error": …}`."""
        self.start()
        return self._ask({"do": "load", "source": source, "path": path}, self.limits.seconds)

    def doctest(self) -> Reply:
        """Run the examples of the docstrings: `{"failed", "tried", "said"}` or `{"error": …}`."""
        return self._ask({"do": "doctest"}, self.limits.seconds)

    def call(self, calls: Sequence[Call]) -> Reply:
        """Call functions of the file. One answer each: `{"value", "inputs"}` or `{"error"}`."""
        return self._ask({"do": "call", "calls": list(calls)}, self.limits.seconds)

    def close(self) -> None:
        """End the process and all it started, and remove its scratch folder."""
        if not self._closed:
            self._closed = True
            self._kill()
            self._requests.close()
            os.close(self._answers)
            os.close(self._output)
            shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, request: Any, seconds: float) -> Reply:
        from eyeline.learn.sandbox import wire  # with torch: the process starts meanwhile

        if self._closed:
            return Reply(None, "ended", "", None, 0.0)
        began = time.monotonic()
        frame, stopped = self._exchange(wire.encode(request), began + seconds)
        answer, code = None, None
        if stopped is None:
            try:
                answer = wire.decode(frame)
            except wire.WireError:
                stopped = "protocol"
        if stopped is not None:
            code = self._process.poll()
            self.close()
        printed = bytes(self._printed[:_SHOWN]).decode(errors="replace")
        self._printed.clear()
        return Reply(answer, stopped, printed, code, time.monotonic() - began)

    def _exchange(self, request: bytes, deadline: float) -> tuple[bytes, Stop | None]:
        """Write the request and read one frame, while what is printed is drained."""
        from eyeline.learn.sandbox import wire

        unsent, frame, wanted = memoryview(request), bytearray(), wire.HEADER_BYTES
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_WRITE)
            selector.register(self._answers, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj is self._requests:
                        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                            unsent = unsent[self._requests.send(unsent[:_CHUNK], _NO_SIGNAL) :]
                            if unsent:
                                continue
                        selector.unregister(self._requests)
                        continue
                    part = os.read(key.fd, _CHUNK)
                    if key.fd == self._output:
                        self._printed += part
                        if len(self._printed) > self.limits.printed:
                            return b"", "printed"
                        if not part:
                            selector.unregister(self._output)
                        continue
                    if not part:
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            self._process.wait(_REAPED)  # so that its exit status is known
                        self._drain()
                        return b"", "ended"
                    frame += part
                    if wanted == wire.HEADER_BYTES <= len(frame):
                        wanted += sum(wire.lengths(bytes(frame[: wire.HEADER_BYTES])))
                        if wanted > self.limits.answer:
                            return b"", "answer"
                    if len(frame) >= wanted > wire.HEADER_BYTES:
                        self._drain()
                        return bytes(frame[:wanted]), None
        return b"", "time"

    def _drain(self) -> None:
        """What was printed just before the answer, or before the end."""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._output, _CHUNK):
                self._printed += part
                if len(self._printed) > self.limits.printed:
                    return

    def _kill(self) -> None:
        """End the process; with a PID namespace that takes everything in it along.

        Its first process is ended by its own number as well: it may have asked the kernel not to be
        ended with its parent.
        """
        if self._own_namespaces and self._process.poll() is None:
            for pid in _children(self._process.pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_REAPED)  # `unshare` waits for the first process, and ends
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(one) for one in text.split()]


def _environment() -> dict[str, str]:
    """The learner's process sees no more of the environment than Python and torch need."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR", "LD_LIBRARY_PATH"}
    here = {name: value for name, value in os.environ.items() if name in kept}
    return here | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
