"""Half-open sockets are closed, and do not keep anybody out."""

import socket
import time

import pytest

from eyeline.server import protocol


def half_open(port, start=b"GET / HTTP/1.1\r\nhost: x"):
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(start)
    return connection


def is_closed(connection, within):
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("start", [b"", b"GET", b"GET / HTTP/1.1\r\nhost: x"])
def test_a_header_has_a_time_limit(server, monkeypatch, start):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    connection = half_open(server.port, start)
    begin = time.monotonic()
    assert is_closed(connection, 3)
    assert time.monotonic() - begin < 1.5
    connection.close()


def test_dripping_does_not_help(server, monkeypatch):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.4)
    connection = half_open(server.port)
    begin = time.monotonic()
    try:
        for _ in range(40):
            connection.sendall(b"a")
            time.sleep(0.05)
    except OSError:
        pass
    assert time.monotonic() - begin < 1.5
    connection.close()


def test_the_second_header_on_a_connection_has_one_too(server, browser, monkeypatch):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    host = f"127.0.0.1:{server.port}"
    whole = f"GET /api/start HTTP/1.1\r\nhost: {host}\r\ncookie: {browser.cookie}\r\n\r\n".encode()
    connection = half_open(server.port, whole)
    answer = b""
    while b'"opened"' not in answer:
        answer += connection.recv(65536)
    connection.sendall(b"GET / HTTP/1.1\r\nho")
    connection.settimeout(3)
    begin = time.monotonic()
    while (more := connection.recv(65536)) != b"":
        answer += more
    assert time.monotonic() - begin < 1.5
    connection.close()


def test_half_open_sockets_make_room(server, browser, monkeypatch):
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 20)
    waiting = [half_open(server.port) for _ in range(40)]
    assert browser.ask("GET", "/api/start")[0] == 200
    for connection in waiting:
        connection.close()


def test_while_there_is_room_nobody_is_turned_out(server, monkeypatch):
    """One that is closed comes again: to turn some out for others is endless work."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 2.0)
    assert protocol.MOST_CONNECTIONS >= 64
    waiting = [half_open(server.port) for _ in range(60)]
    assert not is_closed(waiting[0], 0.5) and not is_closed(waiting[-1], 0.1)
    assert is_closed(waiting[0], 5)
    for connection in waiting:
        connection.close()


@pytest.mark.parametrize(
    ("soft", "most"), [(256, 128), (100, 64), (20_000, 1024), ("infinite", 1024)]
)
def test_no_more_connections_than_files_may_be_open(monkeypatch, soft, most):
    resource = pytest.importorskip("resource")
    soft = resource.RLIM_INFINITY if soft == "infinite" else soft
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (soft, soft))
    assert protocol._most_connections() == most


def test_a_header_that_is_too_large(server):
    connection = half_open(server.port, b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 40_000)
    connection.settimeout(5)
    answer = connection.recv(100)
    assert answer.startswith(b"HTTP/1.1 400") or answer == b""
    connection.close()
