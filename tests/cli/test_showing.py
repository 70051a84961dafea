"""`eyeline export` and `open`."""

import json

import pytest

import _tiny_models as tiny


@pytest.mark.parametrize("ending", ["html", "csv", "json", "npz", "svg"])
def test_export_writes_what_the_ending_says(eyeline, tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    code, out, err = eyeline(
        "export", tiny.TEXT, "--model", tiny.folder("bert"), "-o", path, "--token", "#3"
    )
    assert (code, err) == (0, "")
    assert out.startswith(str(path)) and path.stat().st_size > 100


def test_export_of_a_file(eyeline, tmp_path):
    (tmp_path / "paper.txt").write_text(tiny.TEXT, encoding="utf-8")
    path, model = tmp_path / "a.json", tiny.folder("bert")
    code, _, _ = eyeline(
        "export", tmp_path / "paper.txt", "-m", model, "-o", path, "-t", "#3", "--layer", 1
    )
    assert code == 0 and json.loads(path.read_text(encoding="utf-8"))["text"] == tiny.TEXT


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["the cat", "-o", "a.doc"], "the ending says what is written"),
        (["no.txt", "-o", "a.html"], "there is no file"),
        (["the cat", "-o", "a.json"], "which token"),
        (["  ", "-o", "a.html"], "text is empty"),
    ],
)
def test_what_cannot_be_exported(eyeline, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = eyeline("export", *arguments, "--model", tiny.folder("bert"))
    assert code == 2 and message in err and err.count("\n") == 1 and out == ""
    assert not list(tmp_path.glob("a.*"))


def test_open_refuses_before_it_serves(eyeline, tmp_path):
    for arguments, message in (
        (["  "], "text is empty"),
        ([str(tmp_path / "no.txt")], "there is no file"),
        (["the cat", "--model", str(tmp_path)], "config.json"),
    ):
        code, _, err = eyeline("open", "--no-browser", *arguments)
        assert code == 2 and message in err, err
