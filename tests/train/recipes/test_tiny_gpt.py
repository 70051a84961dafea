"""Windows from anywhere; every sixth says its first half twice."""

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


def test_windows(recipe):
    (rows,) = recipe.batch(0).tensors
    assert rows.shape == (12, 32) and recipe.batch(0).count == 12 * 31
    twice = [bool(torch.equal(row[:16], row[16:])) for row in rows]
    assert [n for n, yes in enumerate(twice) if yes] == [0, 6]
    assert torch.equal(rows, recipe.batch(0).tensors[0])


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
