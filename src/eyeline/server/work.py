"""Work that a request asks for: in a thread, with progress, and stopped when nobody waits for it.

A response is frames: one letter, four bytes of length, and that many bytes.

    p   progress, JSON: {"stage", "done", "total"}
    i   an item of the result, a packet: a token that was just written
    r   the result, a packet; the last frame
    e   an error, JSON: {"error"}; the last frame

What is done within 0.3 s is a plain response with one frame and, if it failed, with HTTP's status.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from eyeline._errors import EyelineError
from eyeline.readings import TextTooLong
from eyeline.server.guard import Receive, Scope, Send
from eyeline.server.refusals import Busy, Cancelled, Refusal

__all__ = ["Desk", "Frames", "Job", "Report"]

Job: TypeAlias = Callable[["Report"], bytes]

_PATIENCE = 0.3
_EVERY = 0.1
_TYPE = b"application/x-eyeline"


class Desk:
    """How much is done at a time, and how many may wait.

    Args:
        running: Jobs at a time.
        waiting: Jobs that may wait; further ones are refused at once.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(running)
        self._waiting, self._most = 0, waiting
        self.cancels: set[threading.Event] = set()

    def enter(self) -> None:
        """Somebody comes; raises `Busy` where too many wait."""
        if self._waiting >= self._most:
            raise Busy("the server is busy: try again in a moment", retry_after=2)
        self._waiting += 1

    async def run(self, job: Job, report: "Report", cancel: threading.Event) -> bytes:
        """The job's result, once its turn has come."""
        self.cancels.add(cancel)
        try:
            try:
                await self._slots.acquire()
            finally:
                self._waiting -= 1
            try:
                if cancel.is_set():
                    raise Cancelled
                return await _in_thread(lambda: job(report))
            finally:
                self._slots.release()
        finally:
            self.cancels.discard(cancel)

    def stop(self) -> None:
        """Tell every job to stop."""
        for cancel in self.cancels:
            cancel.set()


async def _in_thread(call: Callable[[], bytes]) -> bytes:
    """The result of a call in a thread that does not keep the process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()

    def settle(result: bytes | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result or b"")

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:
            error = RuntimeError("stopped") if isinstance(raised, StopIteration) else raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the server has stopped meanwhile

    threading.Thread(target=work, daemon=True, name="eyeline-work").start()
    return await future


class Frames:
    """An ASGI response that does the work and tells of it.

    Args:
        desk: Where the job waits for its turn.
        job: The work.
    """

    def __init__(self, desk: Desk, job: Job) -> None:
        self._desk, self._job = desk, job
        desk.enter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cancel = threading.Event()
        news: asyncio.Queue[bytes] = asyncio.Queue()
        report = Report(asyncio.get_running_loop(), news, cancel)
        work = asyncio.ensure_future(self._desk.run(self._job, report, cancel))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({work, leaving}, timeout=_PATIENCE, return_when="FIRST_COMPLETED")
            if work.done() and (news.empty() or work.exception() is not None):
                await _at_once(work, send)
                return
            await _start(send, 200)
            while not work.done() and not leaving.done():
                told = asyncio.ensure_future(news.get())
                await asyncio.wait({work, leaving, told}, return_when="FIRST_COMPLETED")
                if told.done() and not leaving.done():
                    await _body(send, told.result(), more=True)
                else:
                    told.cancel()
            while not news.empty():
                await _body(send, news.get_nowait(), more=True)
            if work.done() and not leaving.done():
                await _body(send, _last(work), more=False)
        finally:
            cancel.set()
            leaving.cancel()
            if not work.done():
                work.add_done_callback(_forget)


def _forget(work: "asyncio.Future[bytes]") -> None:
    if not work.cancelled():
        work.exception()


class Report:
    """Tells whoever waits how far the work is; raises `Cancelled` when nobody waits any more."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, news: "asyncio.Queue[bytes]", cancel: threading.Event
    ) -> None:
        self._loop, self._news, self._cancel, self._last = loop, news, cancel, 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """What is being done, how much of it is done, and of how much."""
        if self._cancel.is_set():
            raise Cancelled
        now = time.monotonic()
        if now - self._last < _EVERY:
            return
        self._last = now
        told = json.dumps({"stage": stage, "done": done, "total": total}).encode()
        self._send(_frame(b"p", told))

    def item(self, packet: bytes) -> None:
        """A part of the result that is ready."""
        if self._cancel.is_set():
            raise Cancelled
        self._send(_frame(b"i", packet))

    def _send(self, frame: bytes) -> None:
        try:
            self._loop.call_soon_threadsafe(self._news.put_nowait, frame)
        except RuntimeError:  # the server has stopped meanwhile
            raise Cancelled from None


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _at_once(work: "asyncio.Future[bytes]", send: Send) -> None:
    status, headers = 200, []
    if (error := work.exception()) is not None:
        status, headers = _status(error)
    await _start(send, status, headers)
    await _body(send, _last(work), more=False)


def _status(error: BaseException) -> tuple[int, list[tuple[bytes, bytes]]]:
    if isinstance(error, Refusal):
        after = error.details.get("retry_after")
        return error.status, [(b"retry-after", str(after).encode())] if after else []
    if isinstance(error, TextTooLong):
        return 413, []
    return (400 if isinstance(error, EyelineError) else 500), []


def _last(work: "asyncio.Future[bytes]") -> bytes:
    error = work.exception()
    if error is None:
        return _frame(b"r", work.result())
    return _frame(b"e", json.dumps(explain(error)).encode())


def explain(error: BaseException) -> dict[str, Any]:
    """What the browser is told of an error."""
    if isinstance(error, EyelineError):
        details = error.details if isinstance(error, Refusal) else {}
        return {"error": str(error), **details}
    if isinstance(error, MemoryError):
        return {"error": f"not enough memory: {error}"}
    return {"error": f"{type(error).__name__}: {error}"}


def _frame(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body


async def _start(send: Send, status: int, headers: Any = ()) -> None:
    headers = [(b"content-type", _TYPE), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _body(send: Send, body: bytes, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
