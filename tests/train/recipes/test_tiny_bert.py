"""A quarter of the tokens is asked for: most of these masked, some changed, some left."""

import numpy as np
import pytest
import torch

from eyeline.models.bert import BertConfig
from eyeline.train import Batch
from eyeline.train.english import Documents
from eyeline.train.recipes.tiny_bert import MASK, SEP, TinyBert

SMALL = BertConfig(
    vocab_size=300,
    max_length=128,
    num_segments=2,
    embed_dim=16,
    num_layers=1,
    num_heads=2,
    hidden_dim=16,
)


@pytest.fixture(scope="module")
def recipe():
    made = TinyBert(config=SMALL, size=2048, length=64)
    texts = [f"the cat number {n} sat on the mat and saw dog {n % 7}" for n in range(200)]
    made.__dict__["documents"] = Documents(texts, texts[:40])
    return made


def test_what_is_asked_and_what_stands_there(recipe):
    tokens, labels, reaches = recipe.batch(0).tensors
    asked = labels != -100
    assert recipe.batch(0).count == int(asked.sum())
    assert 0.20 < float(asked.float().mean()) < 0.30 and tokens.shape == (32, 64)
    assert recipe.batch(3).tensors[0].shape == (16, 128)  # long windows now and then
    masked = (tokens == MASK) & asked
    assert 0.7 < int(masked.sum()) / int(asked.sum()) < 0.9
    assert bool((labels[asked] > MASK).all())  # no special token is asked for
    assert bool((tokens[:, -1] == SEP).all())
    assert len(reaches) == len(tokens)
    assert torch.equal(tokens, recipe.batch(0).tensors[0])
    assert not torch.equal(tokens, recipe.batch(1).tensors[0])


def test_every_process_numbers_the_pieces_alike(recipe):
    """Or a run that goes on in another process would take one piece for another."""
    made = [TinyBert(config=SMALL) for _ in range(3)]
    for one in made:
        one.__dict__["documents"] = recipe.documents
    numbers = [one.tokenizer().backend.get_vocab() for one in made]
    assert numbers[0] == numbers[1] == numbers[2] and len(numbers[0]) > 40
    text = "the cat 🙂 sat on mat number 7 [MASK]"
    ids = made[0].tokenizer().backend.encode(text)
    assert ids.tokens[0] == "[CLS]" and "[UNK]" in ids.tokens and ids.ids[-2:] == [MASK, SEP]


def test_tokens_see_farther_and_farther(recipe):
    steps = recipe.settings.steps
    reaches = [recipe.reach(step) for step in range(steps)]
    assert reaches[0] == 1 and reaches == sorted(reaches)
    assert recipe.reach(steps // 2) == SMALL.max_length  # the second half sees all
    assert recipe.held_out[0].tensors[2][0] == SMALL.max_length


def test_the_reach_is_a_mask(recipe):
    """What stands farther away than the reach cannot matter."""
    torch.manual_seed(0)
    network = recipe.network().eval()
    tokens, labels, reaches = recipe.batch(0).tensors
    labels = labels.clone()
    labels[:, :32] = -100  # only the second half is asked
    other = tokens.clone()
    other[:, :16] = MASK
    for reach, same in ((1, True), (64, False)):
        batches = [Batch((t, labels, torch.full_like(reaches, reach)), 1) for t in (tokens, other)]
        with torch.no_grad():
            one, two = (float(recipe.loss(network, batch)) for batch in batches)
        assert (one == two) == same


def test_positions_begin_as_waves(recipe):
    table = recipe.network().positions.weight.detach()
    assert abs(float(table.std()) - SMALL.init_std) < 0.5 * SMALL.init_std
    turned = [table[i] @ table[i + 1] for i in (0, 40, 100)]  # a step is the same turn everywhere
    assert torch.allclose(torch.stack(turned), turned[0].expand(3), rtol=1e-4)


def test_it_learns(recipe):
    torch.manual_seed(0)
    network = recipe.network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    with torch.no_grad():
        before = recipe.check(network.eval())["nats per token"]
    network.train()
    for step in range(20):
        batch = recipe.batch(step)
        loss = recipe.loss(network, batch) / batch.count
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = recipe.check(network.eval())
    assert after["nats per token"] < before - 1 and 0 < after["right"] <= 1


def test_the_tokenizer_is_berts(recipe):
    tokenizer = recipe.tokenizer()
    ids = tokenizer.encode("The CAT").ids
    assert ids[0] == 2 and ids[-1] == SEP and ids == tokenizer.encode("the cat").ids
    assert tokenizer.mask_token_id == MASK and np.max(ids) < 300
