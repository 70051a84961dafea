"""What is said about the text is what the plain model says."""

import pytest
import torch

import _tiny_models as tiny
from eyeline.predictions import embedding_of, predict
from eyeline.readings import read


def plain(reading, family):
    with torch.no_grad():
        return tiny.network(family)(**reading.origin.inputs)


@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma2", "t5", "bart"])
def test_next_token(family):
    target = tiny.TARGET if family in tiny.PAIRS else None
    reading = read(tiny.TEXT, tiny.loaded(family), target=target)
    row = plain(reading, family).logits[0, -1].softmax(-1)
    (said,) = reading.predictions
    best = row.topk(5)
    tokenizer = tiny.loaded(family).tokenizer
    assert said.kind == "next"
    assert said.position == len(reading.target_tokens or reading.tokens) - 1
    assert [word for word, _ in said.candidates] == [tokenizer.decode([i]) for i in best.indices]
    assert [p for _, p in said.candidates] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_masked_tokens():
    reading = read("The [MASK] was [MASK]", tiny.loaded("bert-mlm"))
    rows = plain(reading, "bert-mlm").logits[0].softmax(-1)
    assert [p.position for p in reading.predictions] == [2, 4]
    for said in reading.predictions:
        assert said.kind == "masked"
        assert said.candidates[0][1] == pytest.approx(float(rows[said.position].max()), abs=1e-5)
    assert [t.label for t in reading.tokens][2] == "[MASK]"
    assert reading.look("[MASK]:2").query.index == 4


def test_no_mask_no_prediction():
    assert read("The animal", tiny.loaded("bert-mlm")).predictions == []


def test_embedding_is_the_mean_with_length_one():
    reading = read(tiny.TEXT, tiny.loaded("bert"))
    (said,) = reading.predictions
    mean = plain(reading, "bert").last_hidden_state[0].mean(0)
    assert torch.allclose(torch.tensor(said.vector), mean / mean.norm(), atol=1e-5)
    assert said.position is None and said.candidates == ()


def test_an_embedding_of_nothing_is_no_division_by_zero():
    assert embedding_of(torch.zeros(3, 4)).vector == (0, 0, 0, 0)


def test_numbers_that_are_not_finite_predict_nothing():
    reading = read("it", tiny.loaded("gpt2"))
    logits = torch.full((len(reading.tokens), tiny.VOCAB), torch.nan)
    tokenizer = tiny.tokenizer("bytes")
    assert predict(logits, reading.tokens, tokenizer, masked=False) == []


def test_a_vocabulary_smaller_than_the_list():
    reading = read("it", tiny.loaded("gpt2"))
    (said,) = predict(torch.randn(1, 3), reading.tokens, tiny.tokenizer("bytes"), masked=False)
    assert len(said.candidates) == 3
