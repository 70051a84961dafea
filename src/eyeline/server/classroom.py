"""`--class`: a teacher serves students on the network, who join with a code.

Students see and ask what the teacher's page can, with smaller texts, of the models that are loaded.
Nothing of theirs is executed, kept or written. It is plain HTTP: for a room, not for the internet.
"""

import html
import secrets
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from eyeline.server.guard import Keys

__all__ = ["JOIN", "STUDENT_TEXT", "Classroom", "addresses", "join", "join_page"]

JOIN = "/join"

STUDENT_TEXT = 4000
"""Characters of a student's text."""

_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Without letters and digits that look alike."""

_MOST_TRIES = 60
"""Wrong codes a minute, from all addresses together: a code of six has 887 million."""


@dataclass
class Classroom:
    """The code that opens the door, and how often it was guessed wrong.

    Attributes:
        code: Six letters and digits, new at every start.
    """

    code: str = field(default_factory=lambda: "".join(secrets.choice(_ALPHABET) for _ in range(6)))
    _wrong: deque[float] = field(default_factory=deque)

    def is_code(self, given: str) -> bool:
        """Whether this is the code; what cannot be mistyped (case, blanks) does not matter."""
        said = "".join(given.split()).upper()
        right = secrets.compare_digest(said.encode(), self.code.encode())
        if not right:
            self._wrong.append(time.monotonic())
        return right

    @property
    def closed(self) -> bool:
        """Whether so many wrong codes came within a minute that none is listened to."""
        while self._wrong and self._wrong[0] < time.monotonic() - 60:
            self._wrong.popleft()
        return len(self._wrong) >= _MOST_TRIES


async def join_page(_request: Request) -> Response:
    """The page that asks for the code."""
    return HTMLResponse(_page(""))


async def join(request: Request) -> Response:
    """The code was sent: a cookie for it, or the page again."""
    classroom: Classroom = request.app.state.classroom
    keys: Keys = request.app.state.keys
    if classroom.closed:
        message = "Too many wrong codes: wait a minute."
        return HTMLResponse(_page(message), 429, {"retry-after": "60"})
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > 1000:
            return HTMLResponse(_page("That is no code."), 400)
    code = parse_qs(body.decode("latin-1")).get("code", [""])[0]
    if not classroom.is_code(code):
        return HTMLResponse(_page("That is not the code of this class."), 401)
    response = RedirectResponse("/", 303)
    name = request.app.state.cookie
    response.headers["set-cookie"] = (
        f"{name}={keys.admit('student')}; HttpOnly; SameSite=Strict; Path=/"
    )
    return response


def addresses() -> list[str]:
    """This machine's addresses on its networks, the likeliest first."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks which address it would use
            found.append(probe.getsockname()[0])
        except OSError:
            pass
    try:
        found += socket.gethostbyname_ex(socket.gethostname())[2]
    except OSError:
        pass
    return [one for one in dict.fromkeys(found) if not one.startswith("127.")]


def _page(message: str) -> str:
    said = f'<p class="bad" role="alert">{html.escape(message)}</p>' if message else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>eyeline: join</title><link rel="stylesheet" href="/static/app.css"></head>'
        '<body><main class="eyeline join"><h1>eyeline</h1>'
        f'<form method="post" action="{JOIN}"><label for="code">The code of your class</label>'
        '<input id="code" name="code" autocomplete="off" maxlength="12" required autofocus>'
        f'<button class="plain strong">Join</button></form>{said}</main></body></html>'
    )
