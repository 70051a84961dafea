"""What a run leaves can be opened like any model."""

import json

import pytest
import torch

import eyeline
from _toy import Alphabet
from eyeline.train import publish, train
from eyeline.train.publish import CARD, RESULTS


@pytest.fixture
def published(tmp_path):
    run = train(Alphabet(), tmp_path / "run")
    return run, publish(run, tmp_path / "model"), tmp_path / "model"


def test_the_model_is_the_average_in_half_precision(published):
    run, results, folder = published
    model = eyeline.load(str(folder))
    average = run.averaged()
    for mine, its in zip(model.network.parameters(), average.parameters(), strict=True):
        assert torch.equal(mine, its.half().float())
    assert results[0].value == run.checks[-1]["nats"]
    assert model.generate("abc", max_new_tokens=3).split() == ["d", "e", "f"]


def test_it_can_be_read_with(published):
    reading = eyeline.read("abcde", model=str(published[2]))
    assert len(reading.tokens) == 5 and reading.kinds == ["decoder"]


def test_the_card_says_what_it_is(published):
    run, results, folder = published
    card = (folder / CARD).read_text()
    assert card.startswith("# alphabet\n\nSays the alphabet.")
    assert f"{results[0].value:.3g} nats" in card and "seed 1" in card and "none needed" in card
    about = json.loads((folder / RESULTS).read_text())
    assert about["step"] == 40 and about["checks"] == run.checks
