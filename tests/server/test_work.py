"""Jobs in threads: frames, progress, cancelling, waiting."""

import asyncio
import json
import threading
import time

import pytest

from _requests import frames
from eyeline._errors import EyelineError
from eyeline.server.refusals import Busy, Gone
from eyeline.server.work import Desk, Frames


def run(job, leave_after=None, desk=None):
    """The status and frames that a job's response sends."""
    sent = []

    async def receive():
        await asyncio.sleep(leave_after if leave_after is not None else 60)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    async def whole():
        await Frames(desk or Desk(1, 1), job)({"type": "http"}, receive, send)

    asyncio.run(whole())
    body = b"".join(m.get("body", b"") for m in sent)
    return (sent[0]["status"] if sent else None), frames(body)


def test_what_is_quick_is_one_frame():
    assert run(lambda report: b"done") == (200, [("r", b"done")])


@pytest.mark.parametrize(
    "error, status",
    [
        (EyelineError("no"), 400),
        (Gone("gone"), 404),
        (RuntimeError("oh"), 500),
        (StopIteration(), 500),
    ],
)
def test_errors_have_a_status_and_a_line(error, status):
    def job(report):
        raise error

    found, told = run(job)
    assert found == status and told[0][0] == "e" and "error" in json.loads(told[0][1])


def test_what_is_slow_tells_how_far_it_is():
    def job(report):
        for n in range(8):
            report("reading", n, 8)
            time.sleep(0.08)
        return b"done"

    status, told = run(job)
    assert status == 200 and told[-1] == ("r", b"done")
    steps = [json.loads(body) for kind, body in told if kind == "p"]
    assert len(steps) >= 2 and steps[-1]["stage"] == "reading" and steps[-1]["total"] == 8


def test_a_late_error_is_a_frame():
    def job(report):
        time.sleep(0.5)
        raise EyelineError("too late")

    status, told = run(job)
    assert status == 200 and told[-1][0] == "e" and "too late" in told[-1][1].decode()


def test_items_come_in_order_and_none_is_lost():
    def job(report):
        for n in range(50):
            report.item(bytes([n]))
        return b"done"

    told = run(job)[1]
    assert [body[0] for kind, body in told if kind == "i"] == list(range(50))
    assert told[-1] == ("r", b"done")


def test_who_leaves_stops_the_work():
    stopped = threading.Event()

    def job(report):
        try:
            while True:
                report("reading", 0, 1)
                time.sleep(0.01)
        finally:
            stopped.set()

    run(job, leave_after=0.5)
    assert stopped.wait(1)


def test_too_many_are_refused_before_anything_runs():
    async def fill():
        desk = Desk(1, 2)
        made = [Frames(desk, lambda report: b"") for _ in range(2)]
        with pytest.raises(Busy) as raised:
            Frames(desk, lambda report: b"")
        assert raised.value.details["retry_after"] > 0
        return made

    assert len(asyncio.run(fill())) == 2
