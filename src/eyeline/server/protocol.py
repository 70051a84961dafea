"""uvicorn's HTTP protocol with the limits that it lacks: on headers that never end, on connections.

uvicorn waits for ever for the end of a request's header, so a few hundred half-open sockets are
enough to keep everybody out. Here a header has five seconds, and where there are too many
connections the oldest that never finished a header makes room.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEADER_SECONDS", "MOST_CONNECTIONS", "LimitedProtocol"]

HEADER_SECONDS = 5.0


def _most_connections() -> int:
    """More than a class and hundreds of half-open sockets; half of what the system lets us open."""
    try:
        import resource
    except ImportError:  # Windows
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else max(min(1024, soft // 2), 64)


MOST_CONNECTIONS = _most_connections()

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\n"
    b"content-type: text/plain\r\ncontent-length: 25\r\n\r\ntoo many open connections"
)


class LimitedProtocol(H11Protocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._spoke = False

    def connection_made(self, transport: Any) -> None:
        if len(self.connections) >= MOST_CONNECTIONS and not self._make_room():
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._arm()  # part of a header, the next one's or the first one's
        elif self.conn.their_state is not h11.IDLE:
            self._spoke = True
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self in self.connections:
            super().connection_lost(exc)

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()

    def _make_room(self) -> bool:
        silent = [c for c in self.connections if isinstance(c, LimitedProtocol) and not c._spoke]
        if not silent:
            return False
        oldest = min(silent, key=lambda c: c._deadline.when() if c._deadline else 0.0)
        oldest.transport.abort()
        self.connections.discard(oldest)
        return True
