"""The model that a learner's code runs in, and how it gets there."""

import pytest
import torch

from eyeline.learn.rewards import subject


@pytest.fixture
def model():
    return subject.tiny_bert()


def test_it_reads_the_pronoun_sentence(model):
    assert model.query.label == "it" and model.read().shape[0] == len(model.tokens)
    assert model.where == "tiny-bert, layer 0, head 2"
    row = torch.zeros(len(model.tokens))
    row[next(token.index for token in model.tokens if token.label == "animal")] = 1.0
    assert "it looks at animal" in model.sentence(row)


def test_attention_as_it_is_written_changes_nothing(model):
    seen = []

    def attend(query, key, value, scale):
        seen.append((query @ key.mT * scale).softmax(-1))
        return seen[-1] @ value

    before = model.read()
    with subject.attending(model, attend):
        torch.testing.assert_close(model.read(), before, atol=2e-5, rtol=0)
    assert len(seen) == len(model.attentions)
    with subject.attending(model, attend, 0, 1):
        model.read()
    assert len(seen) == len(model.attentions) + 2


def test_the_model_is_as_it_was(model):
    before = model.read()
    with subject.attending(model, lambda query, key, value, scale: 0 * value):
        assert not torch.allclose(model.read(), before)
    assert torch.equal(model.read(), before)
    assert all(one.observers == () for one in model.attentions)


def test_and_when_the_code_raises(model):
    def attend(query, key, value, scale):
        raise ArithmeticError

    with pytest.raises(ArithmeticError), subject.attending(model, attend):
        model.read()
    assert all(one.observers == () for one in model.attentions)
