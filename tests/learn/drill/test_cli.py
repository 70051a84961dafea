"""`eyeline drill` by its behaviour."""

import json

import pytest

from eyeline.learn.drill.questions import find_question


@pytest.fixture
def drill(eyeline, monkeypatch, tmp_path):
    monkeypatch.setenv("EYELINE_DATA", str(tmp_path / "data"))
    return lambda *arguments, stdin="": eyeline("drill", *arguments, stdin=stdin)


def right(drill, number):
    shown = json.loads(drill("show", number, "--json")[1])
    best = next(one.text for one in find_question(number).options if one.right)
    return next(letter for letter, text in shown["options"].items() if text == best)


def test_predict_run_compare(drill):
    code, out, err = drill("-q", 12, "-a", "64")
    assert (code, err) == (0, "") and out.startswith("right\n")
    assert "computed now: 65.08; you said 64, off by 2%" in out and "Saved; asked again" in out
    code, out, _ = drill("-q", 12, "-a", "8")
    assert code == 1 and out.startswith("not right\n")
    code, out, _ = drill("-q", 12, "-a", "?")
    assert code == 1 and out.startswith("the answer\n")


def test_every_option_is_explained(drill):
    letter = right(drill, 30)
    code, out, _ = drill("-q", 30, "-a", letter)
    flat = " ".join(out.split())
    assert code == 0 and all(" ".join(one.why.split()) in flat for one in find_question(30).options)
    assert f"✓ {letter})" in out and "(yours)" in out


def test_json(drill):
    code, out, err = drill("-q", 61, "-a", "2 GiB", "--json")
    data = json.loads(out)
    assert (code, err) == (0, "") and data["right"] and data["computed"]["answer"] == 2
    assert data["due"] and data["number"] == 61
    rows = [json.loads(line) for line in drill("list", "--json")[1].splitlines()]
    assert len(rows) == 76 and [r["number"] for r in rows if r["asked"]] == [61]


def test_a_session_from_a_pipe(drill):
    code, out, err = drill("-n", 3, "--topic", "serving", stdin="?\n?\n?\n")
    assert (code, err) == (0, "") and out.count("Saved;") == 3
    assert "60. " in out and "61. " in out and "62. " in out
    code, out, _ = drill("-n", 1, "--topic", "serving", stdin="q\n")
    assert code == 0 and "63. " in out and "Saved" not in out
    code, out, _ = drill("-n", 2, stdin="")
    assert code == 0 and "1. " in out


def test_a_session_as_json(drill):
    code, out, _ = drill("-n", 2, "--json", stdin="?\n?\n")
    assert code == 0 and [json.loads(line)["number"] for line in out.splitlines()] == [1, 2]


def test_a_mock_interview(drill):
    code, out, _ = drill("--mock", 6, "--seed", 3, stdin="?\n" * 6)
    assert code == 0 and "0 of 6 right" in out and "topic" in out
    code, out, _ = drill("--mock", 6, "--seed", 3, "--json", stdin="?\n" * 4)
    report = json.loads(out)
    assert (report["asked"], report["answered"], report["right"]) == (6, 4, 0)
    assert report["limit"] == 360 and len(report["answers"]) == 4


def test_time_runs_out(drill, monkeypatch):
    from eyeline.learn.drill import cli

    clock = iter(range(0, 100000, 40))
    monkeypatch.setattr(cli.time, "monotonic", lambda: next(clock))
    code, out, _ = drill("--mock", 20, "--minutes", 5, "--seed", 1, stdin="?\n" * 20)
    assert code == 0 and "were not answered" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-q", 30, "-a", "zz"], "give one of a, b, c, d"),
        (["-q", 99, "-a", "a"], "there is no question 99"),
        (["-q", 99], "there is no question 99"),
        (["-a", "a"], "--answer needs --question"),
        (["--mock", 0], "an interview has 1 to 76"),
        (["--mock", 500], "an interview has 1 to 76"),
        (["--mock", 3, "-a", "a"], "leave out"),
        (["--mock", 3, "--minutes", "inf"], "give a number of minutes"),
        (["--topic", "cooking"], "there is no topic"),
        (["code", 22], "has no computation"),
        (["show", 77], "there is no question 77"),
    ],
)
def test_bad_input(drill, arguments, message):
    code, out, err = drill(*arguments)
    assert code == 2 and message in err and err.startswith("eyeline: ") and "Traceback" not in err
    assert out == ""


def test_the_code_of_an_answer(drill):
    code, out, _ = drill("code", 12)
    assert code == 0 and "def _variance" in out
    assert "masks.causal()" in drill("code", 25)[1]
