"""Answers as people type them."""

import pytest

from eyeline._errors import EyelineError
from eyeline.learn.drill.grading import grade, read_answer
from eyeline.learn.drill.questions import find_question


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("64", 64),
        ("1,050,624", 1_050_624),
        ("1_000", 1000),
        (" 1/8 ", 0.125),
        ("2 GiB", 2),
        ("1e3", 1000),
        (".5", 0.5),
        ("12 %", 0.12),
        ("-3", -3),
    ],
)
def test_numbers_as_people_write_them(typed, value):
    assert read_answer(find_question(12), typed) == pytest.approx(value)


@pytest.mark.parametrize("typed", ["", "many", "1/0", "1e999", "nan", "inf", "1/x", "\x1b[31m"])
def test_what_is_no_number(typed):
    with pytest.raises(EyelineError, match="give"):
        grade(find_question(12), typed)


@pytest.mark.parametrize("typed", ["e", "1", "ab", "", "yes"])
def test_what_is_no_letter(typed):
    with pytest.raises(EyelineError, match="give one of a, b, c, d, or"):
        grade(find_question(30), typed)
