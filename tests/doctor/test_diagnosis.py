"""A diagnosis as text and as data."""

import json

from eyeline.doctor import Diagnosis, Evidence, Stage, check, forge


def test_text_and_json_say_the_same():
    diagnosis = check(forge("attention", "scaled by 1/head_dim"), mask="attend")
    data = json.loads(diagnosis.to_json())
    assert data == diagnosis.to_dict()
    assert data["ok"] is False and data["name"] == diagnosis.name
    assert data["name"] == "scaled by 1/head_dim / scaled twice"
    assert data["evidence"][0]["text"] == str(diagnosis.evidence[0])
    text = str(diagnosis)
    for words in (data["name"], data["evidence"][0]["text"], *data["stages"][0]["lines"]):
        assert words in text
    assert data["same"]["scaled by 1/head_dim"][0]["name"] == "scaled twice"


def test_several_explanations_are_joined_by_or():
    one, two = (check(forge("attention", n)).explanations for n in ("no softmax", "not scaled"))
    diagnosis = Diagnosis("f", "attention", ok=False, explanations=one + two)
    assert diagnosis.name == "no softmax or not scaled"
    assert "explanation 2 of 2" in str(diagnosis) and len(diagnosis.mistakes) == 2


def test_numbers_that_json_lacks():
    evidence = Evidence("a case", (0, 1), ("rows", "width"), float("nan"), float("-inf"))
    diagnosis = Diagnosis("f", "softmax", ok=False, evidence=(evidence,), problem="gives NaN")
    data = json.loads(diagnosis.to_json())
    assert data["evidence"][0]["found"] == "nan" and data["evidence"][0]["expected"] == "-inf"
    assert "position [0, 1] of [rows, width] is nan, expected -inf" in str(diagnosis)


def test_right_is_one_line_and_its_stages():
    diagnosis = Diagnosis("f", "softmax", ok=True, stages=(Stage("shapes", True, ("[3]",)),))
    assert str(diagnosis).splitlines()[0] == "f: right (softmax)" and diagnosis.name is None
