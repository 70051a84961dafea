"""A real Chromium that can reach this machine's server and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import _tiny_models as tiny
import _words
from _chromium import ARGUMENTS, executable
from eyeline.server import Opened, Server, Shelf

playwright = pytest.importorskip("playwright.sync_api")

SENTENCE = "The animal didn't cross the street because it was tired"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """MiniLM where it is on this machine, else a tiny model of the same kind; and tiny others."""
    from eyeline.models import cached

    here = {one.name for one in cached()}
    shelf = Shelf(Opened(SENTENCE, "minilm" if "minilm" in here else "bert"))
    for family in ("bert", "gpt2", "llama", "t5", "bert-mlm"):
        shelf.models[family] = tiny.opened(family)
    for family in ("bert", "gpt2", "llama"):
        shelf.models[f"{family}-words"] = _words.loaded(family)
    shelf.model(shelf.opened.model)
    made = Server(shelf)
    thread = made.start()
    yield made
    made.stop()
    thread.join(10)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[object]:
    path = executable()
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Page:
    """A page of the explorer, with everything that went wrong in it."""

    def __init__(self, chromium, server, width=1440, height=900, scheme="light", **options):
        self.server, self.errors, self.requests = server, [], []
        self.context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "dialog", lambda dialog: (self.errors.append("a script ran"), dialog.dismiss())
        )

    def open(self, state: str = "") -> object:
        self.page.goto(f"{self.server.link}{'#' + state if state else ''}")
        self.ready()
        return self.page

    def ready(self) -> None:
        self.page.wait_for_selector("[data-ready]")
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate("document.fonts.ready.then(() => 0)")

    def close(self) -> None:
        self.context.close()
        own = (f"http://127.0.0.1:{self.server.port}/", "blob:", "data:", "file:")
        assert [url for url in self.requests if not url.startswith(own)] == []
        assert self.errors == []


@pytest.fixture
def visit(chromium, server) -> Iterator[object]:
    pages = []

    def make(state: str = "", **options) -> Page:
        page = Page(chromium, server, **options)
        pages.append(page)
        page.open(state)
        return page

    yield make
    for page in pages:
        page.close()


@pytest.fixture
def real_model(server) -> str:
    if server.shelf.opened.model != "minilm":
        pytest.skip("needs MiniLM: eyeline models get minilm")
    return "minilm"
