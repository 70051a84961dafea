"""Files hold the reading's numbers, and what a token says never runs."""

import csv
import io
import json
import re

import numpy as np
import pytest

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.readings import read
from eyeline.view.exporting import FORMATS, Shown, export, write_export

TEXT = "the cat sat on the mat"
NASTY = 'the </script><script>alert(1)</script> =1+1 "<!--" & \u2028 cat'


@pytest.fixture(scope="module")
def reading():
    return read(TEXT, tiny.loaded("bert"))


def test_json(reading):
    found = json.loads(export(reading, "json", Shown("the", 1, 2)))
    look = reading.look("the", layer=1, head=2)
    assert found["sentence"] == look.sentence() and found["model"] == "bert"
    np.testing.assert_allclose([t["weight"] for t in found["tokens"]], look.mean)


@pytest.mark.parametrize("direction", ["at", "by"])
def test_csv(reading, direction):
    text = export(reading, "csv", Shown("the", direction=direction)).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    look = reading.look("the", direction=direction)
    assert len(rows) == look.weights.numel()
    np.testing.assert_allclose([float(r["weight"]) for r in rows], look.weights.flatten())
    fixed = "query_label" if direction == "at" else "key_label"
    assert {r[fixed] for r in rows} == {"the"}


def test_npz(reading):
    found = np.load(io.BytesIO(export(reading, "npz", Shown("the", 1))))
    np.testing.assert_array_equal(found["weights"], reading.look("the", layer=1).weights)
    assert found["labels"].tolist() == [t.label for t in reading.tokens]
    assert json.loads(str(found["about"]))["model"] == "bert"


@pytest.mark.parametrize("ending, start", [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_figures(reading, ending, start):
    row, whole = Shown("the", 1, 2), Shown(None, 1, 2)
    for shown in (row, whole):
        data = export(reading, ending, shown)
        assert data.startswith(start)
        assert export(reading, ending, shown) == data
    assert export(reading, "svg", row) != export(reading, "svg", whole)


def test_a_page_runs_nothing_that_a_token_says():
    page = export(read(NASTY, tiny.loaded("gpt2")), "html", Shown(3, 1, 2)).decode()
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert "alert(1)" not in re.sub(r"&lt;.*?&gt;", "", page) or "<script>alert" not in page
    data = re.search(r'id="eyeline-data">(.*?)</script>', page, re.DOTALL)
    assert "<" not in data[1] and "summary" in json.loads(data[1])["answers"]
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_a_page_stays_within_its_budget():
    page = export(
        read("cat dog " * 260, tiny.loaded("llama"), beyond_limit=True), "html", Shown(5, 0, 0)
    )
    assert len(page) <= 2_000_000


def test_a_formula_in_a_token_is_text(reading):
    reading = read("=1+1 cat", tiny.loaded("gpt2"))
    text = export(reading, "csv", Shown(0)).decode()
    assert not re.search(r",[=+@]", text.split("weight\n", 1)[1])


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_written_whole(reading, tmp_path, ending):
    path = write_export(reading, tmp_path / f"a.{ending}", Shown("the", 1, 2))
    assert path.read_bytes() and [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "name, shown, message",
    [
        ("a.doc", Shown("the"), r"'\.doc' is no format"),
        ("a", Shown("the"), "is no format"),
        ("a.csv", Shown(), "which token"),
        ("a.png", Shown(), "a map is of one head"),
        ("a.json", Shown("xyz"), "no token 'xyz'"),
        ("no/a.json", Shown("the"), "cannot be written"),
    ],
)
def test_what_cannot_be_written(reading, tmp_path, name, shown, message):
    with pytest.raises(EyelineError, match=message):
        write_export(reading, tmp_path / name, shown)
    assert not list(tmp_path.iterdir())
