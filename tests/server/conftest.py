"""A server with tiny models, asked over real sockets."""

from collections.abc import Iterator

import pytest

import _tiny_models as tiny
from _requests import TEXT, Browser
from eyeline.server import Opened, Server, Shelf


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    shelf = Shelf(Opened(TEXT, "bert"))
    for family in ("bert", "gpt2", "llama", "t5"):
        shelf.models[family] = tiny.opened(family)
    made = Server(shelf)
    thread = made.start()
    yield made
    made.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def browser(server: Server) -> Browser:
    return Browser(server)
