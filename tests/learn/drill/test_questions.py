"""Every question: its answer is computed, its options are explained, its numbers are right."""

import math
import re
import string

import pytest
import torch

from eyeline._errors import EyelineError
from eyeline.learn.drill.grading import GAVE_UP, grade, in_order
from eyeline.learn.drill.questions import TOPICS, find_question, questions
from eyeline.learn.drill.sources import source_of
from eyeline.learn.master import masters

QUESTIONS = questions()
each = pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: str(one.number))

COMPUTED = 67
"""Questions of teaching that are computed or calculated; the others are about ideas."""

# numbers that stand in texts as they are: what re-derives them
STATED = {
    2: ["about half of an LSTM's"],
    4: ["1,001 tokens"],
    12: ["20,000 pairs"],
    17: ["512²"],
    31: ["prefix of 4"],
    61: ["2 · 32 · 32 · 128 · 4096 · 2 bytes"],
}


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    from eyeline.learn.drill.questions import heads
    from eyeline.learn.rewards import subject

    monkeypatch.setattr(heads, "subject", subject.tiny_bert)


def test_there_are_76_in_order_and_every_topic_has_some():
    assert [one.number for one in QUESTIONS] == list(range(1, 77))
    assert sum(len(questions(topic)) for topic in TOPICS) == 76
    assert sum(one.demo is not None for one in QUESTIONS) >= COMPUTED
    with pytest.raises(EyelineError, match="there is no topic"):
        questions("cooking")
    with pytest.raises(EyelineError, match="there is no question 77"):
        find_question(77)


@each
def test_what_is_computed_bears_the_answer_out(question):
    outcome = grade(question, GAVE_UP)
    assert outcome.borne_out and not outcome.right and outcome.answer == GAVE_UP
    assert "nan" not in outcome.says and "{" not in outcome.says
    assert grade(question, outcome.expected).right
    if question.demo is not None:
        assert all(isinstance(value, int | float) for value in outcome.computed.values())
        assert dict(question.demo()) == pytest.approx(outcome.computed, nan_ok=True)
        fields = {name for _, name, _, _ in string.Formatter().parse(question.says) if name}
        assert fields <= set(outcome.computed), "a number that nothing computes"
        assert "def " in source_of(question.demo) or "lambda" in source_of(question.demo)


@each
def test_its_options_are_explained(question):
    if question.is_number:
        assert question.demo is not None and 0 < question.within <= 0.25
        expected = grade(question, GAVE_UP).computed["answer"]
        assert math.isfinite(expected) and expected != 0
        near, far = expected * (1 + 0.9 * question.within), expected * (1 + 1.2 * question.within)
        assert grade(question, f"{near!r}").right and not grade(question, f"{far!r}").right
        return
    assert len(question.options) >= 3 and sum(one.right for one in question.options) == 1
    assert all(one.why and one.text for one in question.options)
    assert len({one.text for one in question.options}) == len(question.options)
    shown = in_order(question, 0)
    for letter, option in zip("abcdefgh", shown, strict=False):
        assert grade(question, letter).right == option.right


def test_letters_move_from_time_to_time():
    question = next(one for one in QUESTIONS if not one.is_number)
    orders = {tuple(one.text for one in in_order(question, n)) for n in range(12)}
    assert len(orders) > 3


def test_what_it_refers_to_exists():
    numbers = {one.number for one in masters()}
    for question in QUESTIONS:
        for found in re.findall(r"practice (\d+)(?: to (\d+))?", question.see):
            assert {int(n) for n in found if n} <= numbers
        assert question.see.startswith(("practice", "eyeline", "docs/"))


def test_numbers_that_stand_in_texts():
    """Each is derived again; a text without its number fails here too."""
    from eyeline.nn import MultiHeadAttention

    def text(number: int) -> str:
        one = find_question(number)
        return " ".join([one.ask, one.says, *(o.text + o.why for o in one.options)])

    for number, phrases in STATED.items():
        assert all(phrase in text(number) for phrase in phrases)
    lstm = sum(p.numel() for p in torch.nn.LSTM(32, 32).parameters())
    attention = sum(p.numel() for p in MultiHeadAttention(32, 4).parameters())
    assert attention / lstm == pytest.approx(0.5, abs=0.05)
    assert grade(find_question(4), "?").computed["answer"] == 1000
    assert grade(find_question(6), "?").computed["answer"] == pytest.approx(20)
    assert grade(find_question(13), "?").computed["answer"] == pytest.approx(1 / 8, rel=0.03)
    assert grade(find_question(12), "?").computed["answer"] == pytest.approx(64, rel=0.05)
    assert grade(find_question(17), "?").computed["answer"] == 4 * 512**2 + 4 * 512 == 1_050_624
    assert grade(find_question(18), "?").computed["answer"] == 2 * 4096
    assert grade(find_question(23), "?").computed["answer"] == pytest.approx(
        math.log(0.99 / 0.01 * 9)
    )
    assert grade(find_question(25), "?").computed["answer"] == 8 * 9 / 2
    assert grade(find_question(31), "?").computed == {"answer": 61, "causal": 55, "more": 6}
    assert grade(find_question(33), "?").computed["answer"] == 3 * (4 - 1)
    assert grade(find_question(47), "?").computed["answer"] == pytest.approx(2 ** (-8 / 8))
    assert grade(find_question(59), "?").computed["answer"] == pytest.approx(50257 * 768 / 1e6)
    assert grade(find_question(61), "?").computed["answer"] == 2 * 32 * 32 * 128 * 4096 * 2 / 2**30
    assert grade(find_question(65), "?").computed["answer"] == 2 * 80 * 64 * 128 * 4096 * 2 / 2**30
    assert grade(find_question(70), "?").computed["answer"] == 24 / 2
    assert "0.731" in text(74) and torch.tensor([1.0, 0.0]).softmax(0)[0] == pytest.approx(
        0.731, abs=5e-4
    )
