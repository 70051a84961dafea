"""What a page shows first: tokens as they stand in the text, and who may look where."""

import pytest

import _tiny_models as tiny
from eyeline.readings import read
from eyeline.view.answers import QUESTIONS, Asked
from eyeline.view.answers.summary import describe, rule_of
from eyeline.view.packets import unpack
from eyeline.view.viewed import Viewed

JOINED, SPACE, LINE, SPECIAL = 0, 1, 2, 4


def summary(text, family, **how):
    reading = read(text, tiny.loaded(family), **how)
    return reading, *unpack(QUESTIONS["summary"](Asked(Viewed(reading))))


def test_the_text_can_be_set_again_from_its_tokens():
    text = "the cat\nsat on, internationalization"
    reading, head, arrays = summary(text, "bert")
    labels = head["tokens"]["source"].split("\0")
    gaps, shown = {JOINED: "", SPACE: " ", LINE: "\n"}, ""
    for token, label, code in zip(reading.tokens, labels, arrays["source_set"], strict=True):
        assert bool(code & SPECIAL) == token.special
        if not token.special:
            shown += gaps[int(code) & 3] + label.removeprefix("##")
    assert shown.strip() == text


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_where_words_begin(family):
    """A tokenizer of bytes counts the space as part of the word: it stands apart all the same."""
    text = "the cat sat"
    reading, _, arrays = summary(text, family)
    for token, code in zip(reading.tokens, arrays["source_set"], strict=True):
        if token.special or token.index == 0:
            continue
        begin = (
            token.start
            + len(text[token.start : token.end])
            - len(text[token.start : token.end].lstrip())
        )
        apart = begin > 0 and text[begin - 1] == " "
        if text[token.start : token.end].strip():
            assert (code & 3 == SPACE) == apart, token


def test_who_may_look_where_in_words():
    for family, rule in (("bert", "all"), ("gpt2", "causal()")):
        reading, head, _ = summary("the cat sat", family)
        kind = head["kinds"][reading.default_kind]
        assert set(kind["rules"]) == {rule} == {rule_of(m) for m in reading.maps().values()}


def test_both_sides_of_an_encoder_decoder():
    reading, head, arrays = summary("the cat sat", "t5", target="the dog")
    assert set(head["tokens"]) == {"source", "target"}
    assert len(arrays["target_set"]) == len(reading.target_tokens)
    cross = head["kinds"]["cross"]
    assert (cross["queries"], cross["keys"]) == ("target", "source")
    assert (cross["q_len"], cross["kv_len"]) == (len(reading.target_tokens), len(reading.tokens))


def test_a_long_text_is_not_sent_twice():
    reading = read("the cat " * 600, tiny.loaded("llama"), beyond_limit=True)
    assert describe(reading)["text"] == ""
