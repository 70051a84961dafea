"""Looks: rows of the maps, ranked, renormalised, in words."""

import json

import pytest
import torch

import _tiny_models as tiny
from eyeline import AttentionMap, observe
from eyeline._errors import EyelineError
from eyeline.looks import Look, make_look
from eyeline.masks import causal
from eyeline.readings import read
from eyeline.tokens import Token

TOKENS = [
    Token(i, i, word, word, -1, -1, i in (0, 4))
    for i, word in enumerate(["[CLS]", "it", "saw", "me", "[SEP]"])
]


def maps(layers=2, heads=3, mask=None) -> dict[int, AttentionMap]:
    q, k, v = torch.randn(3, layers, 1, heads, 5, 8, dtype=torch.float64)
    return {n: observe(q[n], k[n], v[n], attn_mask=mask)[1] for n in range(layers)}


def look_of(weights, **options) -> Look:
    given = torch.tensor(weights, dtype=torch.float64)[None, None]
    return Look(TOKENS[1], "encoder", (0,), (0,), TOKENS, given, **options)


def test_the_weights_are_the_maps_rows():
    given = maps()
    look = make_look(given, kind="encoder", query=TOKENS[2], keys=TOKENS)
    assert look.layers == (0, 1) and look.heads == (0, 1, 2)
    expected = torch.stack([m.dense()[0, :, 2] for m in given.values()])
    assert torch.allclose(look.weights, expected)
    one = make_look(given, kind="encoder", query=TOKENS[2], keys=TOKENS, layer=1, head=2)
    assert one.is_one_head and torch.allclose(one.weights[0, 0], expected[1, 2])


def test_shares_are_means_with_the_strongest_head():
    look = make_look(maps(), kind="encoder", query=TOKENS[2], keys=TOKENS)
    shares = look.shares()
    assert [s.mean for s in shares] == sorted((s.mean for s in shares), reverse=True)
    for share in shares:
        column = look.weights[..., share.key.index]
        assert share.mean == pytest.approx(float(column.mean()))
        edge = share.strongest
        assert edge.weight == float(column.max()) == float(column[edge.layer, edge.head])


def test_edges_leave_out_special_tokens_and_itself_unless_asked():
    look = make_look(maps(), kind="encoder", query=TOKENS[2], keys=TOKENS)
    assert {e.key.index for e in look.edges(100)} == {1, 3}
    every = look.edges(100, everything=True)
    assert len(every) == 30
    assert [e.weight for e in every] == sorted(look.weights.flatten().tolist(), reverse=True)
    assert len(look.edges(4)) == 4


def test_in_cross_attention_the_same_index_is_another_token():
    look = make_look(maps(), kind="cross", query=TOKENS[2], keys=TOKENS)
    assert {e.key.index for e in look.edges(100)} == {1, 2, 3}


def test_hide_sink_says_its_mass_and_renormalises():
    given = maps()
    before = make_look(given, kind="encoder", query=TOKENS[2], keys=TOKENS)
    after = make_look(given, kind="encoder", query=TOKENS[2], keys=TOKENS, hide_sink=True)
    assert before.hidden is None
    assert after.hidden == pytest.approx(float(before.weights[..., 0].mean()))
    assert torch.allclose(after.weights.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    rest = before.weights[..., 1:] / before.weights[..., 1:].sum(-1, keepdim=True)
    assert torch.allclose(after.weights[..., 1:], rest) and after.weights[..., 0].eq(0).all()


def test_who_sees_only_the_sink_looks_at_nothing_without_it():
    given = maps(mask=causal())
    look = make_look(given, kind="decoder", query=TOKENS[0], keys=TOKENS, hide_sink=True)
    assert look.hidden == 1 and look.weights.eq(0).all()
    assert look.sentence() == "[CLS] looks at nothing but the hidden first token."


def test_sentences():
    assert look_of([0.05, 0.25, 0.65, 0.05, 0]).sentence() == (
        "it looks at saw 65 %, itself 25 %, [CLS] 5 %; 2 tokens cover 90 %."
    )
    assert look_of([0, 0, 1.0, 0, 0]).sentence() == "it looks at saw 100 %; 1 token covers 90 %."
    assert look_of([0, 0, 0.5, 0, 0]).sentence().endswith("all tokens together hold 50 %.")
    assert look_of([0.0] * 5).sentence() == "it looks at nothing at all."
    assert "this row is NaN" in look_of([torch.nan] * 5).sentence()
    average = make_look(maps(), kind="encoder", query=TOKENS[2], keys=TOKENS).sentence()
    assert average.startswith("saw looks on average at ")


def test_a_word_that_comes_again_is_told_from_the_first():
    words = ["the", "cat", "saw", "the", "cat"]
    tokens = [Token(i, i, word, word, -1, -1, False) for i, word in enumerate(words)]
    weights = torch.tensor([0.1, 0.2, 0.0, 0.3, 0.4], dtype=torch.float64)[None, None]
    look = Look(tokens[2], "encoder", (0,), (0,), tokens, weights)
    assert look.sentence().startswith("saw looks at cat:2 40 %, the:2 30 %, cat 20 %; ")


def test_the_range_is_named():
    one = maps(layers=1, heads=1)
    for given, layer, head, message in (
        (maps(), 2, None, "no encoder layer 2 in this reading: they are 0 to 1"),
        (maps(), -1, None, "no encoder layer -1"),
        (one, 1, None, "there is only layer 0"),
        ({3: one[0], 5: one[0]}, 4, None, "it kept only layers 3, 5"),
        ({3: one[0]}, 4, None, "it kept only layer 3"),
        (maps(), 0, 3, "no head 3: heads are 0 to 2"),
        (maps(), 0, -1, "no head -1"),
        (one, 0, 1, "there is only head 0"),
    ):
        with pytest.raises(EyelineError, match=message):
            make_look(given, kind="encoder", query=TOKENS[0], keys=TOKENS, layer=layer, head=head)


def test_plain_data():
    look = read(tiny.TEXT, tiny.loaded("bert")).look("it", layer=1)
    data = json.loads(json.dumps(look.to_dict(), allow_nan=False))
    assert data["weights"] == look.weights.tolist()
    assert data["layers"] == [1] and data["heads"] == [0, 1, 2, 3]
    assert [s["key"] for s in data["shares"]] == [s.key.index for s in look.shares()]
    assert data["sentence"] == look.sentence() and data["hidden_sink"] is None
    broken = look_of([torch.nan] * 5).to_dict()
    assert broken["weights"] == [[[None] * 5]]
    json.dumps(broken, allow_nan=False)
