"""Heads of a known kind get their label; where there is no evidence, the answer is "unsure"."""

import json

import pytest
import torch

import eyeline
from eyeline.heads import KINDS, census
from eyeline.tokens import Token


def tokens(words):
    ids = {word: i for i, word in enumerate(dict.fromkeys(words))}
    special = ("[CLS]", "[SEP]")
    return [
        Token(i, ids[word], word, word, -1, -1, word in special) for i, word in enumerate(words)
    ]


PLAIN = tokens([f"w{i}" for i in range(24)])
REPEATED = tokens([f"w{i}" for i in range(12)] * 2)


def map_of(target, mask=None, strength=40.0):
    """A head whose query i looks at key `target(i)`; -1 = at everybody alike."""
    n = 24
    key = torch.eye(n)[None, None]
    query = torch.zeros(1, 1, n, n)
    for i in range(n):
        if 0 <= (j := target(i)) < n:
            query[0, 0, i, j] = strength
    return eyeline.observe(query, key, key, attn_mask=mask, scale=1.0)[1]


def report(target, words=PLAIN, mask=None, strength=40.0):
    (only,) = census(map_of(target, mask, strength), 3, words)
    assert (only.layer, only.head) == (3, 0)
    return only


CAUSAL = eyeline.masks.causal()
WINDOW = eyeline.masks.sliding_window(6) & CAUSAL


@pytest.mark.parametrize("mask", [None, CAUSAL], ids=str)
@pytest.mark.parametrize(
    ("kind", "target", "words"),
    [
        ("previous", lambda i: i - 1, PLAIN),
        ("self", lambda i: i, PLAIN),
        ("first", lambda i: 0, PLAIN),
        ("uniform", lambda i: -1, PLAIN),
        ("induction", lambda i: i - 11, REPEATED),
    ],
)
def test_known_heads(kind, target, words, mask):
    found = report(target, words, mask)
    assert found.label == kind
    assert found.scores[kind] == pytest.approx(1.0, abs=1e-6)
    assert f"1.00 on {found.queries[kind]} queries" == found.evidence


def test_next():
    assert report(lambda i: i + 1).label == "next"
    causal = report(lambda i: i + 1, mask=CAUSAL)
    assert causal.scores["next"] is None and causal.queries["next"] == 0


def test_separator():
    words = tokens(["[CLS]", *(f"w{i}" for i in range(10)), ".", *"abcdefghijk", "[SEP]"])
    assert report(lambda i: 23, words).label == "separator"
    assert report(lambda i: 11, words).label == "separator"
    assert report(lambda i: 0, words).label == "first"


def test_local():
    n = 24
    near = torch.arange(n)[:, None] - torch.arange(n)
    scores = torch.where((near >= 1) & (near <= 3), 30.0, 0.0)
    query, key = scores[None, None], torch.eye(n)[None, None]
    seen = eyeline.observe(query, key, key, attn_mask=CAUSAL, scale=1.0)[1]
    assert census(seen, 0, PLAIN)[0].label == "local"


def test_unsure_when_nothing_stands_out():
    found = report(lambda i: (7 * i + 5) % 24)
    assert found.label == "unsure" and found.evidence.startswith("closest is ")


def test_unsure_when_there_is_too_little_text():
    key = torch.eye(3)[None, None]
    seen = eyeline.observe(40 * key, key, key, scale=1.0)[1]
    (found,) = census(seen, 0, PLAIN[:3])
    assert found.label == "unsure" and found.evidence == "too few tokens to say"
    assert set(found.scores.values()) == {None}


def test_induction_needs_a_text_that_repeats_itself():
    assert report(lambda i: i - 11, PLAIN).scores["induction"] is None


def test_what_stands_right_before_is_no_evidence_of_induction():
    words = tokens(["a", "b"] * 12)  # behind the earlier "a" stands "b": the previous token as well
    found = report(lambda i: i - 1, words, CAUSAL)
    assert found.label == "previous"


def test_every_earlier_occurrence_counts():
    words = tokens([f"w{i}" for i in range(6)] * 4)
    found = report(lambda i: i - 11 if i >= 12 else i - 5, words, CAUSAL)
    assert found.scores["induction"] == pytest.approx(1, abs=1e-6)


def test_uniform_in_a_window():
    found = report(lambda i: -1, mask=WINDOW)
    assert found.label == "uniform"
    assert found.scores["uniform"] == pytest.approx(1.0, abs=1e-6)


def test_a_window_leaves_no_choice_and_so_no_evidence():
    narrow = eyeline.masks.sliding_window(3) & CAUSAL
    found = report(lambda i: -1, mask=narrow)
    assert found.queries["local"] == 0 and found.scores["local"] is None
    assert found.queries["first"] == 2 and found.scores["first"] is None
    assert found.label == "unsure"
    assert report(lambda i: i - 1, mask=narrow).label == "previous"


def test_padding_counts_as_hidden():
    found = report(lambda i: -1, mask=eyeline.masks.padding(torch.tensor([10])))
    assert found.scores["uniform"] == pytest.approx(1.0, abs=1e-6)


def test_weights_that_are_not_finite():
    key = torch.eye(24)[None, None]
    query = torch.full((1, 1, 24, 24), torch.nan)
    seen = eyeline.observe(query, key, key)[1]
    (found,) = census(seen, 0, PLAIN)
    assert found.label == "unsure" and found.evidence == "its weights are not finite"
    json.dumps(found.to_dict(), allow_nan=False)


def test_plain_data():
    data = report(lambda i: i - 1).to_dict()
    assert set(data["scores"]) == set(data["queries"]) == set(KINDS)
    assert data["label"] == "previous" and data["layer"] == 3


def test_blocks_of_rows_make_no_difference(tiny_panels):
    found = report(lambda i: i - 1, mask=WINDOW)
    assert found.label == "previous" and found.queries["previous"] == 23
