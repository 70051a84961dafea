"""A class: students come in with the code, and do less than the teacher."""

import json
import re

import pytest

import _tiny_models as tiny
from _requests import Browser, frames, result
from eyeline.server import Classroom, Opened, Server, Shelf
from eyeline.server.classroom import STUDENT_TEXT


@pytest.fixture(scope="module")
def room():
    shelf = Shelf(Opened("the cat sat", "bert"))
    shelf.models["bert"] = tiny.loaded("bert")
    server = Server(shelf, classroom=Classroom())
    thread = server.start()
    yield server
    server.stop()
    thread.join(10)


@pytest.fixture
def student(room):
    browser = Browser(room)
    browser.cookie = ""
    status, headers, _ = join(browser, room.classroom.code)
    assert status == 303 and "HttpOnly" in headers["set-cookie"]
    browser.cookie = headers["set-cookie"].split(";")[0]
    return browser


def join(browser, code, **changed):
    return browser.ask("POST", "/join", f"code={code}".encode(), cookie=None, **changed)


def test_without_a_code_there_is_only_the_door(room):
    browser = Browser(room)
    status, headers, _ = browser.ask("GET", "/", cookie=None)
    assert (status, headers["location"]) == (303, "/join")
    assert browser.ask("GET", "/join", cookie=None)[0] == 200
    for path in ("/api/start", "/static/app.js", "/api/readings/x/look"):
        assert browser.ask("GET", path, cookie=None)[0] == 401


def test_a_student_reads_and_asks(student):
    head = student.read("the dog sat", "bert")
    assert result(student.ask("GET", f"/api/readings/{head['id']}/look?token=1")[2])[0]["sentence"]
    start = json.loads(student.ask("GET", "/api/start")[2])
    assert start["classroom"] and [m["name"] for m in start["models"]] == ["bert"]


def test_a_student_has_small_texts_and_the_teachers_models(student):
    status, _, body = student.ask(
        "POST", "/api/read", {"text": "a " * STUDENT_TEXT, "model": "bert"}
    )
    assert status == 400 and "at most" in json.loads(body)["error"]
    status, _, body = student.ask("POST", "/api/read", {"text": "a", "model": "minilm"})
    assert status == 400 and "not open in this class" in json.loads(body)["error"]
    status, _, body = student.ask("POST", "/api/write", {"text": "a", "model": "minilm"})
    assert status == 400


def test_each_student_has_a_cookie_of_their_own(room):
    browser = Browser(room)
    cookies = {join(browser, room.classroom.code)[1]["set-cookie"] for _ in range(5)}
    assert len(cookies) == 5


@pytest.mark.parametrize("code", ["", "AAAAAA", "é", "x" * 900])
def test_wrong_codes(room, code):
    from urllib.parse import quote

    status, headers, body = join(Browser(room), quote(code))
    assert status in (400, 401) and "set-cookie" not in headers and b"<script" not in body


def test_codes_may_be_typed_in_lower_case(room):
    code = room.classroom.code.lower()
    assert join(Browser(room), f"{code[:3]}+{code[3:]}")[0] == 303


def test_guessing_is_stopped():
    room = Classroom()
    assert re.fullmatch("[A-HJKMNP-Z2-9]{6}", room.code)
    assert not room.closed
    for _ in range(60):
        assert not room.is_code("AAAAAA")
    assert room.closed


def test_joining_from_another_site_is_refused(room):
    assert join(Browser(room), room.classroom.code, origin="http://evil.example")[0] == 403
    assert join(Browser(room), room.classroom.code, host="evil.example")[0] == 403


def test_the_teacher_is_no_student(room):
    teacher = Browser(room)
    assert not json.loads(teacher.ask("GET", "/api/start")[2])["classroom"]
    assert frames(teacher.ask("POST", "/api/read", {"opened": True})[2])[-1][0] == "r"


def test_without_the_flag_there_is_no_door(browser):
    assert browser.ask("GET", "/join")[0] == 404
