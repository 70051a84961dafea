"""`eyeline practice` by its behaviour."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from eyeline.learn.master import find


@pytest.fixture
def practice(eyeline, monkeypatch, tmp_path):
    monkeypatch.setenv("EYELINE_PRACTICE", str(tmp_path / "mine"))
    return lambda *arguments: eyeline("practice", *arguments)


def solve(tmp_path, name, old="", new=""):
    master = find(name)
    path = tmp_path / "mine" / f"{master.label}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(master.solution().replace(old, new) if old else master.solution())
    return path


def test_from_the_first_story_to_a_pass(practice, tmp_path):
    code, out, err = practice("next")
    assert code == 0 and "1. Dot-product lookup" in out and "28 exercises are in" in err
    code, out, _ = practice("run")
    assert code == 1 and "FAIL" in out and "Not written yet." in out
    assert "It is proof against accidents" in out, "said on the first run"
    solve(tmp_path, "1")
    code, out, _ = practice("run", "1")
    assert code == 0 and "PASS" in out and "it looks at" in out and "Next: 02_stable_softmax" in out
    assert "proof against" not in out, "and only then"


def test_a_mistake_is_named(practice, tmp_path):
    solve(tmp_path, "scale", "query.shape[-1]", "query.shape[1]")
    code, out, _ = practice("run", "scale", "--json")
    data = json.loads(out)
    assert code == 1 and data["mistake"] == "scores divided by √num_heads" and not data["ok"]
    assert data["question"] == "Which axis holds the width of a head?"
    assert data["headline"] == "Your output equals scores divided by √num_heads."


def test_hints_then_the_solution(practice, tmp_path):
    practice("next")
    assert practice("hint", "6")[1].count("hint") == 1
    assert practice("hint", "6")[1].count("of 3:") == 2
    code, out, _ = practice("hint", "6")
    assert out.count("of 3:") == 3 and "--give-up" in out
    code, out, err = practice("solution", "6")
    assert code == 2 and "has not passed yet" in err and out == ""
    code, out, _ = practice("solution", "6", "--give-up")
    assert code == 0 and out == find("6").solution()


def test_reset(practice, tmp_path):
    path = solve(tmp_path, "scale")
    code, out, _ = practice("reset", "scale")
    assert code == 0 and "Yours is in" in out and path.read_text() == find("scale").stub()
    assert len(list((tmp_path / "mine" / "backups").iterdir())) == 1


def test_list_and_doctor(practice):
    code, out, _ = practice("list")
    assert code == 0 and "28_gpt2" in out and "0 of 28 passed" in out
    rows = json.loads(practice("list", "--json")[1])
    assert len(rows) == 28 and rows[5]["name"] == "scale" and rows[5]["passed_at"] is None
    code, out, _ = practice("doctor", "--json")
    facts = json.loads(out)
    assert code == 0 and "limits" in facts["protection"] and facts["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "99"], "there is no exercise '99'"),
        (["hint", "softmax"], "could be"),
        (["reset", "nothing"], "there is no exercise"),
        (["run", "-f", "{file}"], "is a file"),
    ],
)
def test_bad_input(practice, tmp_path, arguments, message):
    (tmp_path / "file").touch()
    code, _, err = practice(*(one.format(file=tmp_path / "file") for one in arguments))
    assert code == 2 and message in err and "Traceback" not in err


@pytest.mark.slow
def test_watch_checks_what_is_saved(tmp_path):
    folder = tmp_path / "mine"
    given = os.environ | {"EYELINE_PRACTICE": str(folder), "PYTHONUNBUFFERED": "1"}
    given |= {"EYELINE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "eyeline", "practice", "watch"]
    pipe = subprocess.PIPE
    watch = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=given)
    try:
        while "Watching" not in watch.stdout.readline():
            assert watch.poll() is None
        seconds = []
        for name in ("1", "6"):
            time.sleep(2)  # a learner thinks; meanwhile the next process gets ready
            began = time.monotonic()
            solve(tmp_path, name)
            while "PASS" not in watch.stdout.readline():
                assert watch.poll() is None
            seconds.append(time.monotonic() - began)
        assert max(seconds) < 1 if (os.cpu_count() or 1) > 2 else max(seconds) < 3
    finally:
        watch.send_signal(signal.SIGINT)
        try:
            ended = watch.wait(10)
        finally:
            watch.kill()
            watch.wait()
            watch.stdout.close()
            watch.stderr.close()
    assert ended == 130
