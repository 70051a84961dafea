"""Starting the server, showing its link, stopping it within five seconds."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from eyeline._errors import EyelineError
from eyeline.readings import Reading
from eyeline.server.app import STATIC, Desks, make_app
from eyeline.server.classroom import JOIN, Classroom, addresses
from eyeline.server.guard import Guard, Keys
from eyeline.server.protocol import LimitedProtocol
from eyeline.server.shelf import Opened, Shelf

__all__ = ["Server", "serve_reading"]

_LOOPBACK = "127.0.0.1"


class Server:
    """The explorer's back end on this machine's loopback address.

    Args:
        shelf: What it shows.
        port: The port; 0 takes a free one.
        classroom: Serve students on the network, who join with its code.

    Raises:
        EyelineError: The port is taken.
    """

    def __init__(self, shelf: Shelf, port: int = 0, classroom: Classroom | None = None) -> None:
        self.shelf, self.keys, self.classroom = shelf, Keys(), classroom
        self._socket = _bind(port, _LOOPBACK if classroom is None else "0.0.0.0")
        self.port: int = self._socket.getsockname()[1]
        self._desks: Desks | None = None
        self._server: uvicorn.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens, without the token."""
        return f"http://{_LOOPBACK}:{self.port}/"

    @property
    def link(self) -> str:
        """The address that opens the page; its token is new at every start."""
        return f"{self.address}?token={self.keys.token}"

    async def serve(self, started: Callable[[], None] | None = None) -> None:
        """Serve until a signal or `stop`."""
        self._desks = Desks()
        app = self._guarded()
        config = uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType]
            http=LimitedProtocol,
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=16 * 1024,
        )
        self._server = server = uvicorn.Server(config)
        watching = asyncio.ensure_future(self._watch(server, started))
        try:
            await server.serve(sockets=[self._socket])
        finally:
            self._desks.stop()
            watching.cancel()

    def _guarded(self) -> Guard:
        """The application behind its guard."""
        assert self._desks is not None
        cookie, names = f"eyeline-{self.port}", [_LOOPBACK, "localhost", "[::1]"]
        open_paths: list[str] = []
        if self.classroom is not None:
            names += addresses()
            fonts = (p.relative_to(STATIC).as_posix() for p in STATIC.glob("fonts/*.woff2"))
            open_paths = [JOIN, "/static/app.css", *(f"/static/{font}" for font in fonts)]
        app = make_app(self.shelf, self._desks, self.classroom)
        app.state.keys, app.state.cookie = self.keys, cookie
        hosts = [f"{name}:{self.port}" for name in names]
        return Guard(app, self.keys, hosts, cookie, open_paths, JOIN if self.classroom else None)

    @property
    def class_link(self) -> str | None:
        """What students type; None outside of a class."""
        where = next(iter(addresses()), _LOOPBACK)
        return None if self.classroom is None else f"http://{where}:{self.port}/"

    async def _watch(self, server: uvicorn.Server, started: Callable[[], None] | None) -> None:
        """Say when it has started; stop the work as soon as it is to end."""
        while not server.started:
            await asyncio.sleep(0.01)
        if started is not None:
            started()
        while not server.should_exit:
            await asyncio.sleep(0.1)
        assert self._desks is not None
        self._desks.stop()

    def stop(self) -> None:
        """End it, from any thread."""
        if self._server is not None:
            self._server.should_exit = True

    def run(self, started: Callable[[], None] | None = None) -> None:
        """Serve in this thread until Ctrl-C."""
        with suppress(KeyboardInterrupt):
            asyncio.run(self.serve(started))
        self.close()

    def close(self) -> None:
        """Give the port back; for a server that was never started."""
        self._socket.close()

    def start(self) -> threading.Thread:
        """Serve in a thread of its own; returns once it listens."""
        ready = threading.Event()
        thread = threading.Thread(target=self.run, args=(ready.set,), daemon=True)
        thread.start()
        if not ready.wait(10):
            raise EyelineError("the server did not start within 10 seconds")
        return thread


def serve_reading(reading: Reading) -> Server:
    """A server of one reading in a thread of its own; it is listening when this returns."""
    shelf = Shelf(Opened(reading.text, reading.model, reading.target))
    shelf.put(reading)
    server = Server(shelf)
    server.start()
    return server


def _bind(port: int, address: str = _LOOPBACK) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise EyelineError(
            f"port {port} cannot be used ({error}): choose another with --port, or leave it out"
        ) from None
    return listening
