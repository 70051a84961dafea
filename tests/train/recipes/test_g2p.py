"""Letters and sounds: batches, errors counted, the tokenizer's two alphabets."""

import pytest
import torch

from eyeline.train.pronunciations import Split, Word
from eyeline.train.recipes.g2p import (
    END,
    G2P,
    PAD,
    edits,
    encode,
    padded,
    share_wrong,
    sound_errors,
)

WORDS = [Word(f"{a}{b}t", (("K", "AE", "T"),)) for a in "bcdf" for b in "aeiou"]


@pytest.fixture
def recipe():
    made = G2P(words=4)
    made.__dict__["split"] = Split(WORDS, WORDS[:2], WORDS[:3])
    return made


def test_a_batch_is_a_function_of_its_step(recipe):
    sources, lengths, labels = recipe.batch(3).tensors
    again = recipe.batch(3)
    recipe.batch(40)  # another epoch in between
    assert torch.equal(sources, recipe.batch(3).tensors[0])
    assert again.count == int((labels != -100).sum()) == 16
    assert lengths.tolist() == [3] * 4 and bool((labels[:, -1] == END).all())


def test_an_epoch_has_every_word_once(recipe):
    seen = torch.cat([recipe.batch(step).tensors[0] for step in range(5)])
    assert len({tuple(row) for row in seen.tolist()}) == len(WORDS)


def test_small_letters_are_letters_and_capital_words_sounds():
    tokenizer = G2P().tokenizer()
    assert tokenizer.encode("Cat's").ids == encode("cat's") == tokenizer.encode("CAT'S").ids
    assert tokenizer.encode("K AE T").ids == encode(["K", "AE", "T"])
    assert tokenizer.decode(encode(["K", "AE", "T"])) == "K AE T"
    assert tokenizer.encode("a b").ids == encode("ab")


@pytest.mark.parametrize(
    "one, two, distance", [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_edits(one, two, distance):
    assert edits(one, two) == edits(two, one) == distance


def test_any_listed_pronunciation_is_right():
    word = Word("read", (("R", "EH", "D"), ("R", "IY", "D")))
    judged = [(word, ("R", "IY", "D")), (word, ("R", "EY", "D")), (word, ("R", "IY"))]
    assert share_wrong(judged) == pytest.approx(2 / 3)
    assert sound_errors(judged) == pytest.approx(2 / 9)


def test_padding():
    assert padded([[1, 2], [3]], PAD).tolist() == [[1, 2], [3, PAD]]


def test_the_loss_is_a_sum_that_padding_does_not_change(recipe):
    network = recipe.network().eval()
    sources, lengths, labels = recipe.batch(0).tensors
    from eyeline.train.recipe import Batch

    wider = Batch(
        (
            torch.nn.functional.pad(sources, (0, 2), value=PAD),
            lengths,
            torch.nn.functional.pad(labels, (0, 3), value=-100),
        ),
        16,
    )
    with torch.no_grad():
        one, two = recipe.loss(network, recipe.batch(0)), recipe.loss(network, wider)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-3)
