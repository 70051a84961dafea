"""Starting and stopping, as a user does it."""

import re
import signal
import socket
import subprocess
import sys
import time

import pytest

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.readings import read
from eyeline.server import Opened, Server, Shelf, serve_reading


def test_it_listens_on_this_machine_alone(server):
    assert server._socket.getsockname()[0] == "127.0.0.1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", server.link)


def test_a_port_that_is_taken(server):
    with pytest.raises(EyelineError, match=r"port \d+ cannot be used.*--port"):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            Server(Shelf(Opened(None, "bert")), other.getsockname()[1])


def test_a_reading_that_is_there_is_served():
    reading = read("the cat sat", tiny.loaded("bert"))
    server = serve_reading(reading)
    assert next(iter(server.shelf._given.values())).reading is reading
    server.stop()


@pytest.mark.parametrize("stuck", [False, True])
def test_ctrl_c_ends_it_within_five_seconds(stuck):
    folder = str(tiny.folder("bert"))
    command = [
        sys.executable,
        "-m",
        "eyeline",
        "open",
        "the cat",
        "--model",
        folder,
        "--no-browser",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        link = process.stdout.readline()
        port = int(re.search(r":(\d+)/", link)[1])
        connections = []
        if stuck:
            for start in (b"", b"GET / HTTP/1.1\r\nho"):
                connections.append(socket.create_connection(("127.0.0.1", port)))
                connections[-1].sendall(start)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(8) in (0, 130)
        assert time.monotonic() - begin < 5
        for connection in connections:
            connection.close()
        _, said = process.communicate()
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()


def test_an_unknown_file_is_one_line(tmp_path):
    command = [sys.executable, "-m", "eyeline", "open", str(tmp_path / "no.txt"), "--no-browser"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("eyeline: there is no file")
