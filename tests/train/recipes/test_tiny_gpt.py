"""Windows from anywhere; the first says a passage again and again."""

import pytest
import torch

from eyeline.models.gpt2 import GPT2Config
from eyeline.train.english import Documents
from eyeline.train.recipes.tiny_gpt import TinyGPT

SMALL = GPT2Config(vocab_size=300, max_length=32, embed_dim=16, num_layers=1, num_heads=2)


@pytest.fixture(scope="module")
def recipe():
    made = TinyGPT(config=SMALL, texts=12)
    texts = [f"The cat number {n} sat on the mat and saw dog {n % 7}." for n in range(200)]
    made.__dict__["documents"] = Documents(texts, texts[:60])
    return made


def period(row):
    """After how many tokens a row says the same again."""
    return next(n for n in range(1, len(row) + 1) if torch.equal(row[n:], row[:-n]))


def test_windows(recipe):
    (rows,) = recipe.batch(0).tensors
    assert rows.shape == (12, 32) and recipe.batch(0).count == 12 * 31
    text = recipe.tokens.tolist()
    for row in rows[1:]:
        assert any(text[n : n + 32] == row.tolist() for n in range(len(text) - 31))
    assert torch.equal(rows, recipe.batch(0).tensors[0])


def test_passages_of_every_length_as_they_are_and_shuffled(recipe):
    text, lengths = recipe.tokens.tolist(), set()
    for step in range(40):
        row = recipe.batch(step).tensors[0][0]
        lengths.add(length := period(row))
        passage = row[:length].tolist()
        assert length < 16
        if step % 2 == 0:
            assert any(text[n : n + length] == passage for n in range(len(text)))
    assert len(lengths) > 8


def test_positions_begin_as_waves(recipe):
    """A step to the side is the same turn everywhere."""
    table = recipe.network().positions.weight.detach()
    near = torch.nn.functional.cosine_similarity(table[:-1], table[1:])
    assert near.min() > 0.5 and near.std() < 1e-4


def test_the_text_comes_back_from_its_bytes(recipe):
    tokenizer = recipe.tokenizer()
    for text in ("The cat sat.", "naïve 🙂 text", " two  spaces"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_loss_is_the_sum_over_what_comes_next(recipe):
    network = recipe.network().eval()
    batch = recipe.batch(1)
    with torch.no_grad():
        mean = network.loss(batch.tensors[0])
        torch.testing.assert_close(recipe.loss(network, batch) / batch.count, mean)
