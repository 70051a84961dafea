"""Who may ask: a layer around the whole application that refuses whatever it does not know.

It stands outside of routing, so a route that somebody adds is guarded without a further word. In
this order: the Host must be ours to the letter (DNS rebinding), the request must come from our own
page (other sites), the browser must hold the cookie that the link in the terminal gave it (other
users of the machine).
"""

import asyncio
import contextlib
import hmac
import http.cookies
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs

__all__ = ["HEADERS", "ROLE", "Guard", "Keys", "Role"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

Role: TypeAlias = Literal["owner", "student"]

ROLE = "eyeline.role"
"""Where a request's scope says whose it is."""

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Sent with every response."""

_SAFE = frozenset({"GET", "HEAD"})
_SHORT = 64 * 1024
"""Bytes of a refused body that are still taken."""
_PATIENCE = 0.5
"""Seconds that this may take."""


@dataclass
class Keys:
    """What opens the door.

    Attributes:
        token: Stands in the link; 32 random bytes, new at every start.
        cookies: What browsers hold, and whose they are: the "owner" has used the link, a "student"
            the join code of a class.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookies: dict[str, Role] = field(default_factory=dict)

    def admit(self, role: Role = "owner") -> str:
        """A new cookie."""
        cookie = secrets.token_urlsafe(32)
        self.cookies[cookie] = role
        return cookie

    def role(self, cookie: str) -> Role | None:
        """Who was given this cookie; all are compared, whichever it is."""
        given = cookie.encode()
        pairs = self.cookies.items()
        found: list[Role] = [r for c, r in pairs if hmac.compare_digest(given, c.encode())]
        return found[0] if found else None

    def is_token(self, token: str) -> bool:
        """Whether this is the link's token."""
        return hmac.compare_digest(token.encode(), self.token.encode())


class Guard:
    """The layer.

    Args:
        app: What is guarded.
        keys: What opens the door.
        hosts: Every `Host` that is ours, with the port.
        cookie: Name of the cookie; it holds the port, as browsers share cookies among ports.
        open_paths: Paths that need no cookie (the join page of a class); Host and origin they need.
        door: Where a page without a cookie is sent, if there is a way in.
    """

    def __init__(
        self,
        app: App,
        keys: Keys,
        hosts: Collection[str],
        cookie: str,
        open_paths: Collection[str] = (),
        door: str | None = None,
    ) -> None:
        self._app, self._keys, self._cookie = app, keys, cookie
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in hosts)
        self._open, self._door = frozenset(open_paths), door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"no requests of type {scope['type']!r} are served")
        send = _with_headers(send)
        reason = self._foreign(scope)
        if reason is not None:
            return await _refuse(scope, receive, send, 403, reason)
        if scope["type"] == "http" and (token := self._token(scope)) is not None:
            return await self._enter(scope, receive, send, token)
        role = self._role(scope)
        if role is None and scope.get("path") not in self._open:
            if self._door is not None and scope["type"] == "http" and scope["path"] == "/":
                return await _send_to(self._door, send)
            advice = "this page needs the link that eyeline printed: open it once in this browser"
            return await _refuse(scope, receive, send, 401, advice)
        scope[ROLE] = role
        return await self._app(scope, receive, send)

    def _foreign(self, scope: Scope) -> str | None:
        """Why this does not come from our own page, or None."""
        hosts = _header(scope, b"host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return "Host is not this server's"
        origins, sites = _header(scope, b"origin"), _header(scope, b"sec-fetch-site")
        if any(origin not in self._origins for origin in origins) or len(origins) > 1:
            return "Origin is another site's"
        if origins and origins[0] != f"http://{hosts[0]}":
            return "Origin is another site's"
        if any(site not in ("same-origin", "none") for site in sites) or len(sites) > 1:
            return "the request was made by another site"
        is_plain = scope["type"] == "http" and scope["method"] in _SAFE
        if not is_plain and not (origins or sites == ["same-origin"]):
            return "a request that changes something must say where it comes from"
        return None

    def _token(self, scope: Scope) -> str | None:
        if scope["path"] != "/" or scope["method"] != "GET":
            return None
        found = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
        return found[0] if found else None

    async def _enter(self, scope: Scope, receive: Receive, send: Send, token: str) -> None:
        """The link was opened: a cookie for its token, and the token leaves the address."""
        if not self._keys.is_token(token):
            advice = "this link is of another start of eyeline: use the one it printed last"
            return await _refuse(scope, receive, send, 401, advice)
        cookie = f"{self._cookie}={self._keys.admit()}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _role(self, scope: Scope) -> Role | None:
        for header in _header(scope, b"cookie"):
            try:
                found = http.cookies.SimpleCookie(header).get(self._cookie)
            except http.cookies.CookieError:
                continue
            if found is not None and (role := self._keys.role(found.value)) is not None:
                return role
        return None


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _with_headers(send: Send) -> Send:
    async def sender(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            ours = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
            own = {k for k, _ in ours}
            kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in own]
            message = {**message, "headers": [*kept, *ours]}
        await send(message)

    return sender


async def _send_to(place: str, send: Send) -> None:
    headers = [(b"location", place.encode())]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    await _drain(scope, receive)
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})


async def _drain(scope: Scope, receive: Receive) -> None:
    """Take a short body that is on its way: who is cut off while sending does not read why."""
    lengths = _header(scope, b"content-length")
    if not lengths or not lengths[0].isdigit() or not 0 < int(lengths[0]) <= _SHORT:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while (await receive()).get("more_body"):
                pass
