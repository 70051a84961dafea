"""The models that come with eyeline: there, small enough, and as good as their cards say."""

import json
from dataclasses import asdict

import pytest

import eyeline
from eyeline.models.built_in import BUILT_IN
from eyeline.train import Settings
from eyeline.train.recipes import RECIPES


def test_they_are_here_and_within_20_megabytes():
    assert set(BUILT_IN) == {"tiny-bert", "tiny-gpt", "g2p"}
    assert sum(one.size for one in BUILT_IN.values()) <= 20e6


@pytest.mark.parametrize("name", BUILT_IN)
def test_they_open_without_the_network(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = eyeline.load(name)
    assert type(model.network).__module__.startswith("eyeline.")
    assert model.source == f"built in, made by `eyeline train {name}`"
    assert all(p.isfinite().all() for p in model.network.parameters())


@pytest.mark.parametrize("name", BUILT_IN)
def test_cards_say_what_they_are(name):
    folder = BUILT_IN[name].path
    card = (folder / "README.md").read_text(encoding="utf-8")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert card.startswith(f"# {name}\n") and f"`eyeline train {name}`" in card
    for word in ("data:", "Apache-2.0", "seed", "hours", "held-out"):
        assert word in card, word
    assert results["step"] == results["settings"]["steps"]
    for result in results["results"]:
        assert f"{result['value']:.3g} {result['unit']}" in card


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_recipe_is_the_one_that_made_them(name):
    results = json.loads((BUILT_IN[name].path / "results.json").read_text(encoding="utf-8"))
    settings = json.loads(json.dumps(asdict(RECIPES[name]().settings)))
    young = asdict(Settings(0, 0.0))  # a setting younger than the run had its default
    assert young | results["settings"] == settings


@pytest.mark.parametrize(
    "word, sounds",
    [
        ("cat", "K AE T"),
        ("night", "N AY T"),
        ("shining", "SH AY N IH NG"),
    ],
)
def test_g2p_says_words(word, sounds):
    assert eyeline.load("g2p").generate(word, max_new_tokens=20) == sounds


def test_g2p_finds_the_letters_of_a_sound():
    """Nobody told it: F is looked up at p and h, in the mean of the last layer's heads."""
    reading = eyeline.read("photograph", model="g2p")
    assert [t.label for t in reading.tokens] == list("photograph")
    labels = [t.label for t in reading.target_tokens]
    last = max(reading.cross)
    weights = reading.cross[last][0].mean(0)
    # a sound is written while its predecessor is read
    for sound, letters in (("T", {4}), ("G", {6}), ("R", {7})):
        row = weights[labels.index(sound) - 1]
        assert int(row.argmax()) in letters | {n + 1 for n in letters} | {n - 1 for n in letters}


@pytest.mark.parametrize(
    "text, word",
    [
        ("The [MASK] of the Lord came to Moses, saying", "word"),
        ("The children of [MASK] did evil in the sight of the Lord", "israel"),
        ("He came down to the [MASK] and saw the ships on the water", "sea"),
    ],
)
def test_tiny_bert_fills_in_words_that_make_sense(text, word):
    (said,) = eyeline.read(text, model="tiny-bert").predictions
    assert word in [candidate for candidate, _ in said.candidates[:2]]


def test_tiny_bert_has_heads_that_look_to_either_side():
    found = eyeline.read("She sat on the stone by the river and it was cold").heads()
    kinds = {head.label for head in found}
    assert {"previous", "next"} <= kinds


def test_tiny_gpt_goes_on_with_words_that_make_sense():
    model = eyeline.load("tiny-gpt")
    said = model.generate("And the Lord said to Moses, Say to the children of", 2)
    assert said.strip().startswith("Israel")
