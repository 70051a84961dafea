"""Every route and every socket is closed to whoever has no cookie, or comes from afar."""

import asyncio
import re

import pytest

from eyeline.server.app import Desks, make_app
from eyeline.server.guard import HEADERS, Guard, Keys

INTRUDERS = {
    "no cookie": {"cookie": None},
    "wrong cookie": {"cookie": "eyeline-1=guess"},
    "wrong Host": {"host": "evil.example"},
    "no Host": {"host": None},
    "cross Origin": {"origin": "http://evil.example"},
    "null Origin": {"origin": "null"},
    "cross site": {"sec_fetch_site": "cross-site"},
    "same site, other port": {"sec_fetch_site": "same-site"},
}


def routes(server):
    for route in make_app(server.shelf, Desks()).routes:
        for method in sorted(route.methods - {"HEAD"}):
            path = re.sub(r"\{(\w+)(:path)?\}", "x", route.path)
            yield method, path


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_every_route_refuses(server, browser, intruder):
    asked = list(routes(server))
    assert len(asked) >= 7
    for method, path in asked:
        status, headers, body = browser.ask(method, path, **INTRUDERS[intruder])
        assert status in (400, 401, 403), (method, path, status)
        assert b"reading" not in body
        if status != 400:  # h11 itself refuses a request without Host
            assert headers["content-security-policy"] == HEADERS["content-security-policy"]


def test_a_path_that_does_not_exist_is_guarded_too(browser):
    assert browser.ask("GET", "/nothing", cookie=None)[0] == 401
    assert browser.ask("GET", "/nothing")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_what_changes_something_must_say_where_it_comes_from(browser, method):
    assert browser.ask(method, "/api/read", {}, origin=None)[0] == 403
    if method == "POST":
        status = browser.ask(method, "/api/read", {}, origin=None, sec_fetch_site="same-origin")[0]
        assert status == 400  # it came through the guard, and is no question


def spellings(port):
    yield from (
        *("localhost", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1:{port}.evil.example"),
        *(f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", f"127.0.0.2:{port}"),
        *(f"0.0.0.0:{port}", f"0:{port}", f"2130706433:{port}", f"0x7f.1:{port}", f"127.1:{port}"),
        *(f"LOCALHOST.:{port}", f"localhost.:{port}", f" 127.0.0.1:{port}x", f"[::]:{port}"),
        *(f"[::ffff:127.0.0.1]:{port}", f"127.0.0.1:{port}@evil.example", f"127.0.0.1:0{port}"),
        *(
            f"a@127.0.0.1:{port}",
            f"127.0.0.1:{port}/",
            f"http://127.0.0.1:{port}",
            f"localhost:{port},x",
        ),
        *(
            f"localhost:{port}:{port}",
            f"xn--localhost:{port}",
            f"local:{port}",
            f"host.local:{port}",
        ),
        *(f"127.0.0.1%00:{port}", f"127.0.0.1;{port}", "", ":", f":{port}", "127.0.0.1:", "[::1]"),
        *(f"foo.localhost:{port}", f"192.168.0.1:{port}", f"10.0.0.1:{port}", f"::1:{port}"),
        *(
            f"[::1]:{port}x",
            f"*:{port}",
            f"127.0.0.1:{port}#",
            f"127.0.0.1:{port}?",
            f"l\xf6calhost:{port}",
        ),
    )


def test_forty_spellings_of_a_foreign_host(server):
    refused = [host for host in spellings(server.port) if status_for(server, host=host) == 403]
    assert len(refused) == len(list(spellings(server.port))) >= 40


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_our_own_spellings(server, name):
    assert status_for(server, host=f"{name}:{server.port}") == 401  # only the cookie is missing


def test_two_hosts_are_one_too_many(server):
    ours = f"127.0.0.1:{server.port}".encode()
    assert asgi_status(server, [(b"host", ours), (b"host", b"evil.example")]) == 403


def status_for(server, host):
    return asgi_status(server, [(b"host", host.encode("latin-1"))])


def guarded(server):
    async def app(scope, receive, send):
        raise AssertionError("it came through")

    hosts = [f"{name}:{server.port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    return Guard(app, Keys(), hosts, "eyeline")


def asgi(server, scope):
    sent = []

    async def receive():
        return {"type": f"{scope['type']}.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(guarded(server)(scope, receive, send))
    return sent


def asgi_status(server, headers):
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    return asgi(server, scope)[0]["status"]


@pytest.mark.parametrize("origin", [None, b"null", b"http://evil.example", "own"])
def test_sockets_are_closed(server, origin):
    host = f"127.0.0.1:{server.port}".encode()
    headers = [(b"host", host)]
    if origin is not None:
        headers.append((b"origin", b"http://" + host if origin == "own" else origin))
    sent = asgi(server, {"type": "websocket", "path": "/any", "headers": headers})
    assert sent[0]["type"] == "websocket.close"  # the last one lacks the cookie


def test_the_link_gives_a_cookie_and_leaves_the_address(server, browser):
    status, headers, _ = browser.ask("GET", f"/?token={server.keys.token}", cookie=None)
    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(headers["set-cookie"].split("; "))
    assert server.keys.token not in headers["set-cookie"]


@pytest.mark.parametrize("token", ["", "guess", "é", "x" * 5000])
def test_a_wrong_token_gives_none(browser, token):
    from urllib.parse import quote

    status, headers, _ = browser.ask("GET", f"/?token={quote(token)}", cookie=None)
    assert status in (401, 400) and "set-cookie" not in headers


def test_tokens_are_32_random_bytes_and_new():
    assert len({Keys().token for _ in range(100)}) == 100
    assert all(len(Keys().token) >= 43 for _ in range(10))


def test_headers_of_every_answer(browser):
    for path in ("/", "/static/app.js", "/api/start", "/nothing"):
        headers = browser.ask("GET", path)[1]
        for name, value in HEADERS.items():
            assert headers[name] == value, (path, name)
        assert "access-control-allow-origin" not in headers
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy and "object-src 'none'" in policy
