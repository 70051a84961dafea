"""Runs that begin where others have been give what a run from the beginning gives."""

import itertools

import pytest
import torch

from eyeline.doctor import _runs
from eyeline.doctor._cases import Case, Sizes, attention_inputs
from eyeline.doctor._compare import IMPOSSIBLE
from eyeline.doctor._runs import Runs
from eyeline.doctor._search import Judge
from eyeline.doctor.catalogue import ATTENTION
from eyeline.doctor.recipe import Recipe


@pytest.fixture
def recipe():
    made = Recipe("sum", "a sum", "c", "f(x)")
    made.steps = {
        "a": lambda s: s.x + 1,
        "b": lambda s: {"b": s.a * 2, "side": s.a},
        "c": lambda s: s.b - s.side,
    }
    return made


OTHERWISE = {
    "a": [lambda s: s.x - 1, lambda s: s.x],
    "b": [lambda s: {"b": s.a * 3, "side": 0}],
    "c": [lambda s: s.b + s.side],
}


def test_every_way_to_be_wrong(recipe):
    runs = Runs(recipe, {"x": 5})
    choices = itertools.product(*([None, *OTHERWISE[name]] for name in "abc"))
    for chosen in [*choices] * 2:
        wrong = {name: step for name, step in zip("abc", chosen, strict=True) if step}
        assert vars(runs.run(wrong)) == vars(recipe.run({"x": 5}, wrong))


def test_what_is_in_common_is_computed_once(recipe, monkeypatch):
    made = []
    first = recipe.steps["a"]
    recipe.steps["a"] = lambda s: (made.append(1), first(s))[1]
    runs = Runs(recipe, {"x": 5})
    for step in [*OTHERWISE["c"], *OTHERWISE["b"]] * 3:
        runs.run({"c" if step in OTHERWISE["c"] else "b": step})
    assert len(made) == 2  # before b, and before c
    monkeypatch.setattr(_runs, "MOST", 1)
    again = Runs(recipe, {"x": 5})
    for step in OTHERWISE["c"] * 3:
        assert vars(again.run({"c": step})) == vars(recipe.run({"x": 5}, {"c": step}))


def test_a_step_that_fails_fails_every_time(recipe):
    runs = Runs(recipe, {"x": torch.ones(2)})
    wrong = {"a": lambda s: s.x.reshape(3), "c": OTHERWISE["c"][0]}
    for _ in range(2):
        with pytest.raises(RuntimeError):
            runs.run(wrong)


def test_pairs_of_mistakes_in_attention():
    case = Case("a case", attention_inputs(Sizes()))
    runs, pairs = Runs(ATTENTION, case.inputs), Judge(ATTENTION, [case]).doubles
    assert len(pairs) > 500
    for variant in pairs[::7]:
        try:
            other = ATTENTION.run(case.inputs, variant.steps)
        except IMPOSSIBLE as error:
            with pytest.raises(type(error)):
                runs.run(variant.steps)
            continue
        one = runs.run(variant.steps)
        torch.testing.assert_close(
            one.context, other.context, rtol=0, atol=0, equal_nan=True, msg=str(variant.names)
        )
