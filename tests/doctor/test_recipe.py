"""Recipes: steps in order, mistakes in their place, two at once."""

import pytest

from eyeline.doctor.recipe import Recipe, Variant


@pytest.fixture
def recipe():
    made = Recipe("sum", "a + b, doubled", result="doubled", signature="f(a, b)")

    @made.step
    def total(s):
        return s.a + s.b

    @made.step
    def doubled(s):
        return 2 * s.total

    words = {"seen": "a - b", "symptom": "too small", "fix": "plus?"}
    made.mistake("total", "minus", **words)(lambda s: s.a - s.b)
    made.mistake("doubled", "times", values=(3, 4), needs=("a",), **words)(lambda s, n: n * s.total)
    return made


def test_steps_run_in_order_and_everything_is_kept(recipe):
    state = recipe.run({"a": 5, "b": 2})
    assert (state.a, state.total, state.doubled) == (5, 7, 14)


def test_mistakes_replace_their_step(recipe):
    minus, three, four = recipe.singles()
    assert recipe.run({"a": 5, "b": 2}, minus.steps).doubled == 6
    assert recipe.run({"a": 5, "b": 2}, three.steps).doubled == 21
    assert recipe.run({"a": 5, "b": 2}, four.steps).doubled == 28


def test_two_at_once_if_they_stand_in_different_steps(recipe):
    doubles = list(recipe.doubles(recipe.singles()))
    assert [(d.names, d.values) for d in doubles] == [
        (("minus", "times"), (3,)),
        (("minus", "times"), (4,)),
    ]
    assert recipe.run({"a": 5, "b": 2}, doubles[0].steps).doubled == 9


def test_what_a_mistake_needs(recipe):
    minus, three, _ = recipe.singles()
    assert minus.fits({}) and three.fits({"a": 2}) and not three.fits({"a": 1})


def test_the_same_numbers(recipe):
    recipe.equivalent.append((frozenset({"minus", "times"}), "why"))
    assert recipe.same_as("minus") == ("times",) and recipe.same_as("none") == ()


def test_a_mistake_can_be_written_down(recipe):
    assert recipe.mistakes[0].to_dict()["seen"] == "a - b"
    assert Variant(tuple(recipe.mistakes), {}).names == ("minus", "times")


def test_an_unknown_step_or_a_name_twice_is_noticed(recipe):
    words = {"seen": "", "symptom": "", "fix": ""}
    with pytest.raises(AssertionError, match="no step"):
        recipe.mistake("nowhere", "new", **words)(lambda s: s)
    with pytest.raises(AssertionError, match="twice"):
        recipe.mistake("total", "minus", **words)(lambda s: s)


def test_a_step_may_set_several_names():
    made = Recipe("two", "", result="a", signature="f()")
    made.steps["both"] = lambda s: {"a": 1, "b": 2}
    state = made.run({})
    assert (state.a, state.b) == (1, 2)
