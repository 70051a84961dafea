"""Every exercise: unsolved fails, solved passes, each mistake is rejected and named."""

import re

import pytest
import torch

from eyeline.learn.judging import answers_of, compare, judge, probes_of
from eyeline.learn.master import find, masters
from eyeline.learn.rewards import reward
from eyeline.learn.rewards.learner import Learner
from eyeline.learn.sandbox import Limits, Sandbox

MASTERS = masters()
each = pytest.mark.parametrize("master", MASTERS, ids=lambda master: master.label)


@pytest.fixture(scope="module")
def box():
    with Sandbox(Limits(seconds=10)) as made:
        yield made


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


@each
def test_inside_a_model(master, box, monkeypatch, tmp_path):
    from eyeline.learn.rewards import subject

    monkeypatch.setattr(subject, "subject", subject._small)
    for module in ("inside", "beside"):
        monkeypatch.setattr(f"eyeline.learn.rewards.{module}.subject", subject._small)
    box.load(master.solution(), "solution.py")
    with torch.no_grad() if master.name != "backward" else torch.enable_grad():
        shown = reward(master.name, Learner(box))
    assert shown.title and shown.lines
    assert shown.delta is None or shown.delta < 1e-4


def test_the_probes_of_attention_are_not_saturated():
    for name in ("attention_weights", "causal_mask", "multi_head_attention"):
        exercise = find(name).exercise
        probe = probes_of(exercise)[0]
        if name == "attention_weights":
            largest = exercise.solution(*probe.args).amax(-1)
            assert 0.2 < float(largest.median()) < 0.9


def test_an_exercise_is_found_by_what_a_learner_types():
    for typed in ("6", "06", "scale", "06_scale", "06_scale.py", "practice/06_scale.py"):
        assert find(typed).number == 6
    assert find("rotar").number == 20
    from eyeline._errors import EyelineError

    with pytest.raises(EyelineError, match="there is no exercise '99'"):
        find("99")
    with pytest.raises(EyelineError, match="could be"):
        find("softmax")
