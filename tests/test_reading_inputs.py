"""From a text to what a model reads; what cannot be read is one sentence."""

import pytest

import _tiny_models as tiny
from eyeline import EyelineError
from eyeline._reading_inputs import TextTooLong, check_layers, check_text, encode, target_ids


@pytest.mark.parametrize("text, words", [(" \n", "text is empty"), ("a\ud800", "character 1")])
def test_texts_that_are_none(text, words):
    with pytest.raises(EyelineError, match=words):
        check_text(text)


def test_a_long_text_is_cut_only_when_asked():
    loaded = tiny.opened("bert")
    long = "the cat " * 60
    with pytest.raises(TextTooLong, match="reads at most 64"):
        encode(loaded, long, truncate=False)
    inputs, tokens = encode(loaded, long, truncate=True)
    assert len(tokens) == 64 == inputs["tokens"].shape[1]


def test_beyond_the_limit_is_for_rotary_positions():
    long = "the cat " * 60
    _, tokens = encode(tiny.opened("llama"), long, truncate=False, beyond_limit=True)
    assert len(tokens) > 64
    for family in ("bert", "gpt2"):
        with pytest.raises(EyelineError, match="vector for each of its 64 positions"):
            encode(tiny.opened(family), long, truncate=False, beyond_limit=True)


def test_layers_that_are_not_there():
    loaded = tiny.opened("bert")
    check_layers(loaded, [0, 1])
    with pytest.raises(EyelineError, match="no layer 7: its layers are 0 to 1"):
        check_layers(loaded, [0, 7])
    with pytest.raises(TypeError, match=r"layers=\[3\]"):
        check_layers(loaded, 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(EyelineError, match="keeps nothing"):
        check_layers(loaded, [])


def test_a_target_is_read_without_its_end():
    loaded = tiny.opened("t5")
    inputs, _ = encode(loaded, tiny.TEXT, truncate=False)
    ids = target_ids(loaded, inputs, tiny.TARGET)
    assert ids[0] == loaded.config.start_token_id and ids[-1] not in loaded.end_ids
    written = target_ids(loaded, inputs, None)
    assert 1 <= len(written) <= 41
