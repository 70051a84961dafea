"""A candidate that never ends is stopped, and the alarm of whoever called is as it was."""

import json
import os
import signal
import threading
import time

import pytest
import torch

import eyeline
from _command_line import process
from eyeline._errors import EyelineError
from eyeline.doctor._limits import SECONDS, TimeIsUp, time_limit
from eyeline.doctor.files import load_candidate

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def for_ever(query, key, value, mask=None):
    while True:
        pass


def test_it_is_stopped_and_its_line_is_told():
    begin = time.monotonic()
    diagnosis = eyeline.check(for_ever, seconds=0.3)
    assert time.monotonic() - begin < 2
    assert not diagnosis.ok and diagnosis.problem == "never ends"
    assert "0.3 seconds" in str(diagnosis) and "in for_ever" in str(diagnosis)
    json.dumps(diagnosis.to_dict())


def test_a_bare_except_outside_the_loop_swallows_only_the_first_alarm():
    def stubborn(query, key, value, mask=None):
        try:
            while True:
                pass
        except:  # noqa: E722
            while True:
                pass

    assert eyeline.check(stubborn, seconds=0.3).problem == "never ends"


def test_what_ends_in_time_is_not_disturbed_and_alarms_are_as_before():
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 60)
        limit = SECONDS.set(0.2)
        try:
            with time_limit():
                pass
            with pytest.raises(TimeIsUp), time_limit():
                time.sleep(5)
        finally:
            SECONDS.reset(limit)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 50 < left <= 60
        os.kill(os.getpid(), signal.SIGALRM)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def test_other_threads_have_no_limit_and_still_check():
    found = []

    def right(q, k, v):
        return torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, -1) @ v

    thread = threading.Thread(target=lambda: found.append(eyeline.check(right)))
    thread.start()
    thread.join()
    assert found[0].ok


def test_a_file_that_never_ends_and_one_that_prints(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("while True:\n    pass\n")
    limit = SECONDS.set(0.3)
    try:
        with pytest.raises(EyelineError, match=r"not been imported after 0.3 seconds \(line"):
            load_candidate(f"{path}:f")
    finally:
        SECONDS.reset(limit)


def test_the_command_stops_it_and_keeps_its_json_clean(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "print('hello')\n"
        "def slow(query, key, value, mask=None):\n"
        "    print('asked')\n"
        "    while True: pass\n"
        "def talks(query, key, value):\n"
        "    print('asked')\n"
        "    return (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1) @ value\n"
    )
    code, out, _ = process("check", f"{path}:slow", "--seconds", "0.3", "--json")
    assert code == 1 and json.loads(out)["problem"] == "never ends"
    _, out, heard = process("check", f"{path}:talks", "--json")
    told = json.loads(out)
    assert told["ok"] and "it prints 6 characters each time: 'asked'" in told["remarks"]
    assert "hello" in heard
