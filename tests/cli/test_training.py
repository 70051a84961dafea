"""`eyeline train`: a run of a few steps, and again where it stopped."""

import pytest

from _toy import Alphabet
from eyeline import train


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(train.RECIPES, "toy", Alphabet)


def test_a_run_leaves_a_model(eyeline, tmp_path):
    code, out, err = eyeline("train", "toy", "--out", tmp_path / "run", "--steps", 20)
    assert code == 0 and "surprise" in out and "--model" in out
    assert "toy step" not in out and "held out" in err
    assert (tmp_path / "run" / "model" / "config.json").exists()
    code, out, err = eyeline("train", "toy", "--out", tmp_path / "run", "--steps", 20)
    assert code == 0 and "held out" not in err  # nothing was left to do


def test_other_settings_are_refused_unless_fresh(eyeline, tmp_path):
    run = ["train", "toy", "--out", tmp_path / "run"]
    assert eyeline(*run, "--steps", 10)[0] == 0
    code, out, err = eyeline(*run, "--steps", 20)
    assert code == 2 and "other settings" in err and err.count("\n") == 1 and out == ""
    assert eyeline(*run, "--steps", 20, "--fresh")[0] == 0


def test_an_unknown_recipe_says_which_there_are(eyeline):
    code, out, err = eyeline("train", "gpt-5")
    assert code == 2 and out == "" and "g2p" in err and "tiny-bert" in err and err.count("\n") == 1
