"""A run in the terminal: a line for each look at held-out data, a table, and what to type next."""

from types import SimpleNamespace

from eyeline.train import Result
from eyeline.view import training


def run(checks):
    return SimpleNamespace(
        recipe=SimpleNamespace(name="toy", settings=SimpleNamespace(steps=9)),
        step=5,
        loss=1.25,
        speed=1234.5,
        checks=checks,
    )


def test_each_check_is_one_line_on_stderr(capsys):
    with training.progress() as report:
        report(run([]))
        report(run([{"step": 5.0, "WER": 0.25}]))
        report(run([{"step": 5.0, "WER": 0.25}]))
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "toy step 5: loss 1.250, 1,23" in err and "held out: WER 0.25" in err


def test_the_table_and_how_to_look(capsys, tmp_path):
    training.show_results("toy", [Result("words wrong", 38.1, "%", "of 7")], tmp_path / "model")
    out = capsys.readouterr().out
    assert "words wrong" in out and "38.1 %" in out and "--model" in out
