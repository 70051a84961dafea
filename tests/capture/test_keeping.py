"""What watchers keep: statistics that are taken while the model attends, and nothing else."""

import gc
import weakref

import pytest
import torch
from torch import nn

import eyeline
from eyeline import Measure, watch
from eyeline.capture import huggingface

EVERYTHING = Measure(top_k=4, entropy=True, received=True, pooled=(3, 5), reduce="max")
IDS = torch.arange(20, 44).view(2, 12)


def same(found, expected) -> None:
    for name in ("entropy", "received", "pooled"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    torch.testing.assert_close(found.top_k.values, expected.top_k.values)
    assert torch.equal(found.top_k.indices, expected.top_k.indices)


@pytest.mark.parametrize("keep", ["vectors", "inputs", "statistics"])
def test_statistics_of_every_layer_are_those_of_its_map(tiny, keep, monkeypatch):
    model = tiny("bert")
    with torch.no_grad(), watch(model) as full:
        expected = model(input_ids=IDS)
    passes = []
    honest = huggingface.observe
    monkeypatch.setattr(
        huggingface, "observe", lambda *a, **k: passes.append(k["measure"]) or honest(*a, **k)
    )
    with torch.no_grad(), watch(model, keep=keep, measure=EVERYTHING) as maps:
        found = model(input_ids=IDS)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state)
    assert passes == [EVERYTHING] * len(full)
    assert list(maps) == list(full)
    # asked again, nothing is computed
    monkeypatch.setattr("eyeline.impl.choose", lambda *_: pytest.fail("computed again"))
    taken = {name: seen.take(EVERYTHING) for name, seen in maps.items()}
    monkeypatch.undo()
    for name, seen in full.items():
        same(taken[name], seen.take(EVERYTHING))
        torch.testing.assert_close(maps[name].logsumexp, seen.logsumexp)


def test_statistics_alone_hold_no_vectors(tiny):
    model = tiny("bert")
    alive = []

    def note(query, key, value, **options):
        alive.extend(weakref.ref(t) for t in (query, key, value))
        return eyeline.observe(query, key, value, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface, "observe", note)
        with torch.no_grad(), watch(model, keep="statistics", measure=Measure(top_k=2)) as maps:
            model(input_ids=IDS)
    gc.collect()
    assert alive
    assert not any(reference() for reference in alive)
    seen = next(iter(maps.values()))
    assert next(iter(maps.records.values())).keeps == "statistics"
    batch, heads, rows, _ = seen.shape
    assert seen.nbytes == batch * heads * rows * (2 * 4 + 2 * (4 + 8))
    assert "only statistics" in repr(seen)


@pytest.mark.parametrize(
    "question",
    [
        lambda m: m[0, 0, 0],
        lambda m: m.dense(),
        lambda m: m.entropy(),
        lambda m: m.top_k(9),
        lambda m: m.select(head=0),
        lambda m: m.tile(0, 0, 0),
        lambda m: m.save("never"),
        lambda m: m.problem,
    ],
    ids=["index", "dense", "entropy", "top 9", "select", "tile", "save", "problem"],
)
def test_what_was_not_measured_is_refused_by_name(tiny, question):
    model = tiny("bert")
    with torch.no_grad(), watch(model, keep="statistics", measure=Measure(top_k=3)) as maps:
        model(input_ids=IDS)
    seen = next(iter(maps.values()))
    assert seen.top_k(2).values.shape[-1] == 2  # fewer than were taken
    with pytest.raises(RuntimeError, match=r"statistics alone.*top_k=3.*keep=\"vectors\""):
        question(seen)


def test_two_watchers_get_what_each_asked_for(tiny):
    model = tiny("bert")
    with (
        torch.no_grad(),
        watch(model, measure=Measure(top_k=2)) as few,
        watch(model, keep="statistics", measure=Measure(entropy=True)) as other,
    ):
        model(input_ids=IDS)
    for name, seen in few.items():
        torch.testing.assert_close(other[name].entropy(), seen.entropy())


def test_decoding_steps_keep_their_statistics_and_share_their_past():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=32)
    model = GPT2LMHeadModel(config).eval()
    with watch(model, measure=Measure(entropy=True)) as maps:
        model.generate(IDS[:1], max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert len(maps.passes) == 4
    for one in maps.passes:
        seen = next(iter(one.values()))
        known = seen._known["entropy"]
        fresh = eyeline.AttentionMap(seen.problem, seen.normalizer).entropy()
        torch.testing.assert_close(known, fresh)


def test_while_training_statistics_carry_no_graph():
    layer = nn.MultiheadAttention(16, 2, batch_first=True)
    x = torch.randn(2, 5, 16)
    with watch(layer, keep="statistics", measure=EVERYTHING) as maps:
        output, _ = layer(x, x, x)
    output.sum().backward()
    assert layer.in_proj_weight.grad is not None
    (seen,) = maps.values()
    assert not seen.entropy().requires_grad
    torch.testing.assert_close(seen.received().sum(), torch.tensor(20.0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep": "everything"}, ValueError, "vectors, inputs, statistics"),
        ({"keep": "statistics"}, ValueError, r"say which, with measure=eyeline\.Measure"),
        ({"measure": {"top_k": 3}}, TypeError, "takes an eyeline.Measure.*got dict"),
    ],
    ids=str,
)
def test_bad_requests_say_what_to_write(options, error, message):
    with (
        pytest.raises(error, match=message),
        watch(nn.MultiheadAttention(4, 1), **options),
    ):
        pass
