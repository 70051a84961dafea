"""What the terminal shows: the numbers of the reading, whatever they look like."""

import dataclasses

import pytest
import torch

import _tiny_models as tiny
from eyeline.looks import Look
from eyeline.readings import read
from eyeline.view import terminal


def flat(renderable, width=110) -> str:
    return " ".join(terminal.to_text(renderable, width).split())


@pytest.fixture(scope="module")
def reading():
    return read(tiny.TEXT, tiny.loaded("bert"))


@pytest.mark.parametrize("options", [{}, {"layer": 1}, {"layer": 1, "head": 2}])
def test_a_look_shows_its_sentence_and_its_numbers(reading, options):
    look = reading.look("it", **options)
    shown = flat(terminal.render_look(reading, look))
    assert look.sentence() in shown
    best = look.edges(1)[0]
    assert best.key.label in shown and f"{best.weight:.4f}"[:5] in shown


def test_what_it_says_to_type_next_means_this_token():
    reading = read("the cat saw the dog", tiny.loaded("bert"))
    second = [token for token in reading.tokens if token.label == "the"][1]
    shown = flat(terminal.render_look(reading, reading.look(second.index)), 200)
    assert "--token 'the:2'" in shown and "the:2" in shown


def test_the_hidden_sink_is_named(reading):
    look = reading.look("it", hide_sink=True)
    shown = flat(terminal.render_look(reading, look))
    assert "[CLS]" in shown and f"{100 * look.hidden:.0f} %" in shown


def test_an_overview_has_a_sentence_for_every_token(reading):
    looks = [reading.look(t.index) for t in reading.tokens]
    shown = flat(terminal.render_overview(reading, looks), 200)
    assert all(look.sentence() in shown for look in looks)


@pytest.mark.parametrize("family", ["bert", "opt", "gemma2", "qwen3", "gpt-oss", "t5"])
def test_every_stage_is_shown(family):
    target = tiny.TARGET if family in tiny.PAIRS else None
    reading = read(tiny.TEXT, tiny.loaded(family), target=target)
    steps = reading.steps(1, 2, 4)
    shown = flat(terminal.render_steps(reading, steps), 200)
    for stage in steps.stages:
        assert stage.title in shown and stage.formula in shown, stage.name
    for note in steps.notes:
        assert note in shown
    check = steps.verify()
    assert f"{check.max_delta:.1e}, relative {check.max_relative:.1e}: the model's" in shown


def test_more_than_rounding_is_said_with_its_stage(reading):
    steps = dataclasses.replace(reading.steps(0, 0, "it"), tolerance=0.0)
    shown = flat(terminal.render_steps(reading, steps), 200)
    assert "MORE THAN ROUNDING in" in shown and "the model's rounding" not in shown


def test_a_stage_that_the_table_has_no_heading_for_goes_by_its_name(reading):
    steps = reading.steps(0, 0, "it")
    new = dataclasses.replace(steps["scaled"], name="temperature")
    changed = dataclasses.replace(steps, stages=(*steps.stages[:6], new, *steps.stages[6:]))
    shown = flat(terminal.render_steps(reading, changed), 200)
    assert "scaled temperature masked weight" in shown


@pytest.mark.parametrize("family", tiny.MODELS)
def test_every_number_per_key_has_a_short_heading(family):
    target = tiny.TARGET if family in tiny.PAIRS else None
    reading = read(tiny.TEXT, tiny.loaded(family), target=target)
    per_key = {s.name for s in reading.steps(0, 0, 2).stages if s.per == "key"}
    assert per_key <= set(terminal._COLUMNS)


def test_heads_are_counted_and_explained(reading):
    reports = reading.heads()
    shown = flat(terminal.render_heads(reading, reports), 200)
    for report in reports:
        assert report.label in shown and report.evidence in shown


def test_markup_in_the_text_is_only_text():
    text = "it [bold]was[/bold] [/] \x1b[31m \x9b31m tired"
    reading = read(text, tiny.loaded("gpt2"))
    for token in reading.tokens:
        shown = terminal.to_text(terminal.render_look(reading, reading.look(token.index)))
        assert "\x1b" not in shown and "\x9b" not in shown


def test_nan_is_shown_as_such(reading):
    weights = torch.full((2, 4, len(reading.tokens)), torch.nan, dtype=torch.float64)
    look = Look(reading.tokens[3], "encoder", (0, 1), (0, 1, 2, 3), reading.tokens, weights)
    assert "NaN" in flat(terminal.render_look(reading, look))


@pytest.mark.parametrize("width", [20, 40, 300])
def test_any_width(reading, width):
    for renderable in (
        terminal.render_look(reading, reading.look("it")),
        terminal.render_steps(reading, reading.steps(0, 0, "it")),
        terminal.render_heads(reading, reading.heads()),
    ):
        shown = terminal.to_text(renderable, width)
        assert shown.strip() and max(len(line) for line in shown.splitlines()) <= width
