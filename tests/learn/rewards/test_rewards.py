"""A learner's code at work: in a small model here, in MiniLM where it is."""

import pytest

from eyeline.learn.master import find, masters
from eyeline.learn.rewards import reward, subject
from eyeline.learn.rewards.learner import Learner

each = pytest.mark.parametrize("master", masters(), ids=lambda master: master.label)


@pytest.fixture
def small(monkeypatch):
    for module in ("inside", "beside"):
        monkeypatch.setattr(f"eyeline.learn.rewards.{module}.subject", subject.tiny_bert)


@each
def test_inside_a_model(master, box, small):
    box.load(master.solution(), "solution.py")
    shown = reward(master.name, Learner(box))
    assert shown.title and shown.lines
    assert shown.delta is None or shown.delta < 1e-4


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("attention", "math.sqrt(query.shape[-1])", "math.sqrt(2 * query.shape[-1])"),
        ("stable_softmax", "return powers /", "return 1.1 * powers /"),
        ("kv_cache", "tril(total - new)", "tril(total)"),
        ("gpt2", '"tanh"', '"none"'),
    ],
)
def test_it_is_their_code_that_runs(box, small, name, old, new):
    source = find(name).solution()
    assert old in source
    box.load(source.replace(old, new), "wrong.py")
    shown = reward(name, Learner(box))
    assert shown.delta is not None and (shown.delta > 1e-4 or name == "kv_cache")


@pytest.mark.real
def test_it_finds_the_animal_in_minilm(box):
    assert subject.subject().name == "MiniLM"
    for name in ("stable_softmax", "attention", "multi_head_attention"):
        box.load(find(name).solution(), "solution.py")
        shown = reward(name, Learner(box))
        assert "it looks at animal 66 %" in " ".join(shown.lines)
        assert shown.delta is not None and shown.delta < 2e-5
