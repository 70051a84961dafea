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


def test_the_probes_of_attention_are_not_saturated():
    for name in ("attention_weights", "causal_mask", "multi_head_attention"):
        exercise = find(name).exercise
        probe = probes_of(exercise)[0]
        if name == "attention_weights":
            largest = exercise.solution(*probe.args).amax(-1)
            assert 0.2 < float(largest.median()) < 0.9
