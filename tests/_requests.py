"""A browser without a window: what it sends to a server, and the frames that come back."""

import http.client
import json
from dataclasses import dataclass, field

from eyeline.server import Server
from eyeline.view.packets import unpack

TEXT = "the cat sat on the mat and it was tired"


@dataclass
class Browser:
    """What a browser with the link's cookie sends."""

    server: Server
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        status, headers, _ = self.ask("GET", f"/?token={self.server.keys.token}")
        assert status == 303
        self.cookie = headers["set-cookie"].split(";")[0]

    def ask(
        self, method: str, path: str, body: object = None, **changed: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request; `changed` sets headers, underscores for hyphens, None leaves one out."""
        host = f"127.0.0.1:{self.server.port}"
        headers: dict[str, str | None] = {"host": host, "cookie": self.cookie}
        if method != "GET":
            headers["origin"] = f"http://{host}"
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        data = (
            None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        if data is not None:
            connection.putheader("content-length", str(len(data)))
        connection.endheaders(data)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, answer

    def read(self, text: str = TEXT, model: str = "bert", **more: object) -> dict:
        """Read a text; the summary's head."""
        status, _, body = self.ask("POST", "/api/read", {"text": text, "model": model, **more})
        assert status == 200, body
        return result(body)[0]


def frames(body: bytes) -> list[tuple[str, bytes]]:
    """The frames of a response."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "little")
        found.append((chr(body[0]), body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def result(body: bytes):
    """Head and arrays of the last frame."""
    kind, packet = frames(body)[-1]
    assert kind == "r", packet
    return unpack(packet)
