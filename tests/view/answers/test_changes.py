"""What is taken out, as an address says it; and the weight beside what it carries and does."""

import numpy as np
import pytest

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.interventions import Ablate, Cut, intervene, value_norms
from eyeline.readings import read
from eyeline.view.answers import QUESTIONS, Asked
from eyeline.view.answers.changes import parse_changes
from eyeline.view.packets import unpack
from eyeline.view.viewed import Viewed


@pytest.fixture(scope="module")
def viewed():
    return Viewed(read("the cat sat on the mat", tiny.loaded("gpt2")))


def ask(viewed, question, **given):
    return unpack(QUESTIONS[question](Asked(viewed, given)))


def test_heads_and_edges():
    assert list(parse_changes("1.2,0.3:4>1", "decoder")) == [
        Ablate(1, 2, "decoder"),
        Cut(0, 3, 4, 1, "decoder"),
    ]


@pytest.mark.parametrize(
    "text", ["1", "1.2.3", "a.b", "1.2:3", "1.2:3>", "-1.2", "1.2;0.1", "１.2"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(EyelineError, match="wanted are heads"):
        parse_changes(text, "decoder")


def test_nothing_and_too_much_are_refused():
    with pytest.raises(EyelineError, match="nothing is changed"):
        parse_changes("", "decoder")
    assert len(parse_changes(",".join(["0.1"] * 64), "decoder")) == 64
    with pytest.raises(EyelineError, match="65 changes"):
        parse_changes(",".join(["0.1"] * 65), "decoder")


def test_a_change_is_the_intervention(viewed):
    head, arrays = ask(viewed, "change", cuts="1.2")
    outcome = intervene(viewed.reading, [Ablate(1, 2, "decoder")])
    assert head["candidates"] == [text for text, _, _ in outcome.candidates]
    np.testing.assert_allclose(
        arrays["shares"], [[b, a] for _, b, a in outcome.candidates], atol=1e-6
    )
    assert head["divergence"] == pytest.approx(outcome.divergence, abs=1e-6)


def test_effects_stand_beside_weights_and_what_they_carry(viewed):
    reading = viewed.reading
    last = len(reading.tokens) - 1
    head, arrays = ask(viewed, "effects", layer="1", head="2", token=str(last))
    row = reading.maps("decoder")[1][0, 2][last].numpy()
    assert list(arrays["keys"]) == list(np.argsort(-row, kind="stable")[: len(arrays["keys"])])
    np.testing.assert_allclose(arrays["weights"], row[arrays["keys"]], atol=1e-6)
    norms = value_norms(reading, 1, 2, last, "decoder").numpy()
    np.testing.assert_allclose(arrays["norms"], norms[arrays["keys"]], rtol=1e-5)
    for key, effect in zip(arrays["keys"], arrays["effects"], strict=True):
        outcome = intervene(reading, [Cut(1, 2, last, int(key), "decoder")])
        assert effect == pytest.approx(outcome.divergence, abs=1e-6)
    assert head["total"] == pytest.approx(float(norms.sum()), rel=1e-5)
