"""Interviews: from all topics, the same for the same seed."""

import pytest

from eyeline._errors import EyelineError
from eyeline.learn.drill.grading import grade
from eyeline.learn.drill.mock import Answer, Report, choose
from eyeline.learn.drill.questions import TOPICS, find_question


def test_every_topic_is_asked():
    chosen = choose(20, seed=1)
    assert len({one.number for _, one in chosen}) == 20
    assert {topic for topic, _ in chosen} == set(TOPICS)
    assert [q.number for _, q in chosen] == [q.number for _, q in choose(20, seed=1)]
    assert [q.number for _, q in chosen] != [q.number for _, q in choose(20, seed=2)]
    assert len(choose(76)) == 76


def test_too_many():
    for count in (0, 77):
        with pytest.raises(EyelineError, match="1 to 76"):
            choose(count)


def test_a_report():
    right = grade(find_question(61), "2")
    wrong = grade(find_question(67), "1")
    answers = [
        Answer("serving", right, 5.0, True),
        Answer("serving", right, 9.0, False),
        Answer("serving", wrong, 2.0, True),
    ]
    report = Report(answers, 4, 16.0, 10.0)
    assert report.right == 1 and report.by_topic() == {"serving": (1, 3)}
    data = report.to_dict()
    assert (data["asked"], data["answered"]) == (4, 3) and not data["answers"][1]["in_time"]
