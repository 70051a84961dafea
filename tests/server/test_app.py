"""What the routes answer, and what they refuse."""

import json
import threading
import time

import pytest

from _requests import TEXT, frames, result
from eyeline.server.app import BODY_LIMIT, STATIC
from eyeline.server.refusals import TooLarge
from eyeline.server.shelf import bytes_per_token


def test_the_page_and_its_files(browser):
    status, headers, body = browser.ask("GET", "/")
    assert status == 200 and b"/static/app.js" in body
    assert headers["content-type"].startswith("text/html")
    for name, kind in (("app.js", "text/javascript"), ("app.css", "text/css")):
        status, headers, body = browser.ask("GET", f"/static/{name}")
        assert status == 200 and headers["content-type"].startswith(kind)
        assert body == (STATIC / name).read_bytes()


@pytest.mark.parametrize(
    "name", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "fonts", "", "app.js/"]
)
def test_no_other_file(browser, name):
    assert browser.ask("GET", f"/static/{name}")[0] in (404, 307)


def test_nothing_is_loaded_from_elsewhere():
    for path in STATIC.rglob("*"):
        if path.suffix in (".js", ".css", ".html"):
            text = path.read_text(encoding="utf-8")
            for word in ("http://", "https://", "//cdn", "@import"):
                found = [u for u in text.split(word)[1:] if not allowed(word + u)]
                assert not found, (path.name, word, found[0][:60])


def allowed(address):
    """Namespaces, and addresses in messages of errors; nothing of these is fetched."""
    known = ("http://www.w3.org/", "https://svelte.dev/e/", "http://${", "https://${")
    return address.startswith(known)


def test_reading_and_asking(browser):
    head = browser.read()
    assert head["model"] == "bert" and head["kinds"]["encoder"]["heads"] == 4
    path = f"/api/readings/{head['id']}/look?token=3&layer=1&head=2"
    look, arrays = result(browser.ask("GET", path)[2])
    assert look["sentence"].count("%") >= 2
    assert abs(arrays["row"].sum() / 65534 - 1) < 1e-3


def test_the_same_text_is_the_same_reading(browser):
    assert browser.read()["id"] == browser.read()["id"]
    assert browser.read("another text")["id"] != browser.read()["id"]
    assert browser.read(model="gpt2")["id"] != browser.read()["id"]


def test_what_was_opened(browser):
    start = json.loads(browser.ask("GET", "/api/start")[2])
    assert start["text"] == TEXT and start["model"] == "bert"
    assert {"bert", "gpt2"} <= {m["name"] for m in start["models"]}
    assert browser.read(text="", opened=True)["text"] == TEXT


@pytest.mark.parametrize(
    "path, message",
    [
        ("look?token=99", "tokens 0 to"),
        ("look?token=-1", "whole number"),
        ("look?token=1e3", "whole number"),
        ("look?token=%D9%A3", "whole number"),
        ("look", "whole number"),
        ("row?token=1&layer=7&head=0", "no encoder layer 7"),
        ("row?token=1&layer=0&head=9", "no head 9"),
        ("heads?kind=cross", "no cross attention"),
        ("tile?layer=0&head=0&level=0&i=9&j=0", "no tile"),
        ("cell?token=1&layer=0&head=0&stage=magic", "no such number"),
        ("change?cuts=", "nothing is changed"),
        ("change?cuts=;rm", "cuts="),
    ],
)
def test_a_bad_question_gets_one_clear_line(browser, path, message):
    status, _, body = browser.ask("GET", f"/api/readings/{browser.read()['id']}/{path}")
    kind, told = frames(body)[-1]
    said = json.loads(told)["error"]
    assert kind == "e" and status in (200, 400)  # 200 where work had begun before it was known
    assert message in said and "\n" not in said and "Traceback" not in said


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"text": 1}',
        b'{"text": "x", "model": ["a"]}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_a_bad_body(browser, body):
    status, _, answer = browser.ask("POST", "/api/read", body)
    assert status == 400 and "error" in json.loads(answer)


def test_a_body_has_a_limit(browser):
    status, _, answer = browser.ask("POST", "/api/read", {"text": "a" * BODY_LIMIT})
    assert status == 400 and "64 KiB" in json.loads(answer)["error"]


def test_empty_and_unknown(browser):
    for body in ({"text": "  ", "model": "bert"}, {"text": "a", "model": "../etc"}):
        status, _, answer = browser.ask("POST", "/api/read", body)
        assert status in (400, 404), answer
    assert browser.ask("GET", "/api/readings/gone/summary")[0] == 404
    assert browser.ask("GET", "/api/readings/gone/nothing")[0] == 404


def test_a_text_longer_than_the_model_reads(browser):
    status, _, body = browser.ask("POST", "/api/read", {"text": "cat " * 300, "model": "bert"})
    assert status == 413 and "reads at most" in json.loads(frames(body)[0][1])["error"]


def test_memory_is_asked_before_anything_runs(browser, server, monkeypatch):
    each = bytes_per_token(server.shelf.models["llama"], "inputs")
    monkeypatch.setattr(server.shelf, "budget", 20 * each)
    status, _, body = browser.ask("POST", "/api/read", {"text": "the cat " * 20, "model": "llama"})
    told = json.loads(frames(body)[0][1])
    assert status == 413 and told["largest"] == 20 and "20" in told["error"]
    with pytest.raises(TooLarge):
        server.shelf.admit(server.shelf.models["llama"], "the cat " * 20)


def test_old_readings_make_room(browser, server, monkeypatch):
    first = browser.read("the first text")["id"]
    each = bytes_per_token(server.shelf.models["bert"], "inputs")
    monkeypatch.setattr(server.shelf, "budget", 20 * each)
    browser.read("the second text is read now")
    assert browser.ask("GET", f"/api/readings/{first}/summary")[0] == 404


def test_compare(browser):
    one, other = browser.read()["id"], browser.read("the dog sat on the mat and it was tired")["id"]
    status, _, body = browser.ask("POST", "/api/compare", {"one": one, "other": other})
    head, arrays = result(body)
    assert status == 200 and head["comparable"]
    assert arrays["changes"].shape == (2, 4) and (arrays["changes"] > 0).all()
    pairs = arrays["queries"].tolist()
    assert [0, 0] in pairs and pairs == sorted(pairs) and len(pairs) >= 10
    same = result(browser.ask("POST", "/api/compare", {"one": one, "other": one})[2])[1]
    assert same["changes"].max() < 1e-6
    models = {"one": one, "other": browser.read(model="gpt2")["id"]}
    assert not result(browser.ask("POST", "/api/compare", models)[2])[0]["comparable"]


def test_writing_sends_a_token_at_a_time(browser):
    body = {"text": "the cat", "model": "gpt2", "length": 5, "temperature": 0}
    sent = frames(browser.ask("POST", "/api/write", body)[2])
    assert [kind for kind, _ in sent].count("i") == 5 or sent[-2][0] == "i"
    again = frames(browser.ask("POST", "/api/write", body)[2])
    assert [d for k, d in sent if k == "i"] == [d for k, d in again if k == "i"]
    status, _, answer = browser.ask("POST", "/api/write", {**body, "model": "bert"})
    assert status == 400 and "no decoder" in json.loads(frames(answer)[0][1])["error"]
    for wrong in (
        {"length": 10**6},
        {"temperature": -1},
        {"top_p": 0},
        {"seed": "x"},
        {"top_p": True},
    ):
        assert browser.ask("POST", "/api/write", body | wrong)[0] == 400


@pytest.mark.parametrize("ending", ["html", "svg", "png", "npz", "json", "csv"])
def test_exports(browser, ending):
    path = f"/api/readings/{browser.read()['id']}/export/{ending}?token=3&layer=1&head=2"
    status, _, body = browser.ask("GET", path)
    kind, data = frames(body)[-1]
    assert status == 200 and kind == "r" and len(data) > 200


def test_a_request_that_is_given_up_frees_its_slot(browser, server, monkeypatch):
    """The work stops at its next layer, and the next request is served."""
    import socket

    from eyeline.view import answers

    started, stopped = threading.Event(), threading.Event()

    def endless(asked):
        started.set()
        try:
            while True:
                asked.tick(0, 1)
                time.sleep(0.01)
        finally:
            stopped.set()

    monkeypatch.setitem(answers.QUESTIONS, "heads", endless)
    name = browser.read()["id"]
    for _ in range(5):
        started.clear(), stopped.clear()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            host = f"127.0.0.1:{server.port}"
            lines = [f"GET /api/readings/{name}/heads HTTP/1.1", f"host: {host}"]
            lines += [f"cookie: {browser.cookie}", "", ""]
            connection.sendall("\r\n".join(lines).encode())
            assert started.wait(5)
        assert stopped.wait(1.5)


def test_too_many_waiting_are_told_when_to_come_back(browser, server, monkeypatch):
    from eyeline.view import answers

    release = threading.Event()

    def slow(asked):
        release.wait(10)
        return answers._summary.answer(asked)

    monkeypatch.setitem(answers.QUESTIONS, "heads", slow)
    name = browser.read()["id"]
    statuses, lock = [], threading.Lock()

    def ask():
        start = time.monotonic()
        status, headers, _ = browser.ask("GET", f"/api/readings/{name}/heads")
        with lock:
            statuses.append((status, headers.get("retry-after"), time.monotonic() - start))

    threads = [threading.Thread(target=ask) for _ in range(45)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    with lock:
        early = list(statuses)
    release.set()
    for thread in threads:
        thread.join()
    refused = [s for s in early if s[0] == 503]
    assert len(refused) == 45 - 2 - 32
    assert all(after == "2" for _, after, _ in refused)
    assert sum(s[0] == 200 for s in statuses) == 34
