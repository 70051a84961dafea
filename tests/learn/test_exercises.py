"""Every exercise: unsolved fails, solved passes, each mistake is rejected and named."""

import re

import pytest

from eyeline.learn.judging import answers_of, compare, judge, probes_of
from eyeline.learn.master import find, masters

MASTERS = masters()
each = pytest.mark.parametrize("master", MASTERS, ids=lambda master: master.label)


def test_there_are_28_in_order():
    assert [one.number for one in MASTERS] == list(range(1, 29))
    assert MASTERS[0].name == "dot_product_lookup" and MASTERS[-1].name == "gpt2"


@each
def test_unsolved_fails_solved_passes(master, box):
    exercise = master.exercise
    unsolved = judge(exercise, master.stub(), "stub.py", box)
    assert unsolved.kind == "unsolved"
    solved = judge(exercise, master.solution(), "solution.py", box)
    assert solved.ok, solved
    examples = box.doctest().answer
    assert examples["failed"] == 0 and examples["tried"] > 0, examples


@each
def test_every_mistake_is_rejected_and_named(master):
    exercise = master.exercise
    assert len(exercise.mistakes) >= 3
    names = [mistake.name for mistake in exercise.mistakes]
    assert len(set(names)) == len(names)
    for mistake in exercise.mistakes:
        probes = probes_of(exercise)
        verdict = compare(exercise, probes, answers_of(exercise, mistake, probes))
        assert not verdict.ok and verdict.mistake == mistake.name, verdict
        assert verdict.question == mistake.question and verdict.question.endswith(("?", "."))
        assert verdict.evidence


@each
def test_its_texts(master):
    exercise, stub = master.exercise, master.stub()
    assert len(exercise.hints) == len(set(exercise.hints)) == 3
    assert all(len(hint) > 20 for hint in exercise.hints)
    assert exercise.difficulty in (1, 2, 3) and 1 <= exercise.minutes <= 60
    assert "raise NotImplementedError" in stub and "# solution" not in stub + master.solution()
    assert "Shapes:" in stub and ">>> " in stub
    assert max(map(len, stub.splitlines())) <= 100
    for line in re.findall(r"# solution\n(.*?)# end", master.path.read_text(), re.DOTALL):
        assert line.strip() not in stub and line.strip() in master.solution()
    assert exercise.title in master.page() and "..." in master.page()


@pytest.mark.parametrize(
    "name", ["attention_weights", "08_attention", "causal_mask", "fully_masked"]
)
def test_probes_are_not_saturated(name):
    """Where one weight is nearly 1, wrong scaling is right by accident."""
    for probe in probes_of(find(name).exercise):
        query, key = probe.args[:2]
        scores = query @ key.mT / query.shape[-1] ** 0.5
        assert scores.numel() < 8 or 0.4 < float(scores.std()) < 2.5
