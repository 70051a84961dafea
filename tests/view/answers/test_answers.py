"""Every answer holds the reading's own numbers."""

import numpy as np
import pytest
import torch

import _tiny_models as tiny
import eyeline
from eyeline.readings import read
from eyeline.view.answers import QUESTIONS, Asked
from eyeline.view.answers.comparing import aligned, compare
from eyeline.view.packets import unpack
from eyeline.view.viewed import Viewed

TEXT = "the cat sat on the mat and it was tired"


@pytest.fixture(scope="module", params=["bert", "gpt2", "mistral", "t5"])
def viewed(request):
    target = {"target": "the dog"} if request.param in tiny.PAIRS else {}
    return Viewed(read(TEXT, tiny.loaded(request.param), **target))


def ask(viewed, question, **params):
    packet = QUESTIONS[question](Asked(viewed, {k: str(v) for k, v in params.items()}))
    return *unpack(packet), len(packet)


def test_summary(viewed):
    head, arrays, _ = ask(viewed, "summary")
    reading = viewed.reading
    assert head["tokens"]["source"].split("\0") == [t.label for t in reading.tokens]
    assert len(arrays["source_set"]) == len(reading.tokens)
    assert set(head["kinds"]) == set(reading.kinds)
    for kind, info in head["kinds"].items():
        shape = next(iter(reading.maps(kind).values())).shape
        assert [info["heads"], info["q_len"], info["kv_len"]] == list(shape[1:])


@pytest.mark.parametrize("direction", ["at", "by"])
@pytest.mark.parametrize("where", [{}, {"layer": 1}, {"layer": 1, "head": 2}])
def test_look(viewed, direction, where):
    for kind in viewed.reading.kinds:
        head, arrays, _ = ask(viewed, "look", kind=kind, token=2, direction=direction, **where)
        look = viewed.reading.look(2, kind=kind, direction=direction, **where)
        mean = look.mean.numpy()
        np.testing.assert_allclose(arrays["row"] / 65534, mean, atol=8e-6)
        np.testing.assert_allclose(arrays["top"], mean[arrays["where"]], atol=1e-7)
        assert head["sentence"] == look.sentence()


def test_head_and_row(viewed):
    kind = viewed.reading.default_kind
    one = viewed.reading.maps(kind)[1][0, 2]
    head, arrays, size = ask(viewed, "head", layer=1, head=2)
    assert size <= 64 * 1024
    dense = np.zeros(one.shape)
    for i, (keys, weights) in enumerate(zip(arrays["keys"], arrays["weights"], strict=True)):
        np.maximum.at(dense[i + head["first"]], keys, weights / 65534)
    if head["k"] >= one.shape[1]:
        np.testing.assert_allclose(dense, one, atol=8e-6)
    for direction, expected in (("at", one[3]), ("by", one[:, 3])):
        row = ask(viewed, "row", layer=1, head=2, token=3, direction=direction)[1]["row"]
        np.testing.assert_allclose(row / 65534, expected, atol=8e-6)


def test_heads(viewed):
    for kind in viewed.reading.kinds:
        head, arrays, _ = ask(viewed, "heads", kind=kind)
        maps = viewed.reading.maps(kind)
        assert head["layers"] == list(maps)
        shades = arrays["pictures"].astype(float)
        for n, one in enumerate(maps.values()):
            weights = one.pooled(32, 32, "max")[0].numpy()
            seen = shades[n] > 0
            back = ((np.maximum(shades[n], 1) - 1) / 254) ** 2
            np.testing.assert_allclose(np.sqrt(back), np.sqrt(weights), atol=0.5 / 254 + 1e-6)
            assert (weights[~seen] == 0).all()
        if kind != "cross":
            reports = viewed.reading.heads(kind)
            assert [label for label, *_ in head["labels"]] == [r.label for r in reports]
            np.testing.assert_allclose(
                arrays["values"][..., 0].ravel(), [r.entropy for r in reports], rtol=1e-5
            )


def test_overview_and_tiles_are_the_weights(viewed):
    kind = viewed.reading.default_kind
    one = viewed.reading.maps(kind)[0][0, 1].numpy()
    head, arrays, _ = ask(viewed, "overview", layer=0, head=1)
    assert (head["q_len"], head["kv_len"]) == one.shape
    np.testing.assert_allclose(arrays["received"], one.sum(0), atol=1e-5)
    shades = ask(viewed, "tile", layer=0, head=1, level=0, i=0, j=0)[1]["shades"].astype(float)
    np.testing.assert_allclose(((np.maximum(shades, 1) - 1) / 254) ** 2, one, atol=0.005)


def test_steps_and_cells(viewed):
    for kind in viewed.reading.kinds:
        asked = {"kind": kind, "layer": 1, "head": 2, "token": 1}
        head, arrays, size = ask(viewed, "steps", **asked)
        made = viewed.reading.steps(1, 2, 1, kind=kind)
        assert head["max_delta"] == pytest.approx(made.verify().max_delta)
        assert size < 100_000
        for n, stage in enumerate(made.stages):
            values = stage.values[arrays["keys"].tolist()] if "key" in stage.per else stage.values
            np.testing.assert_allclose(arrays[f"s{n}"], values, rtol=1e-6)
        cell = ask(viewed, "cell", **asked, stage="weights", key=1)[0]
        assert cell["value"] == pytest.approx(float(made["weights"].values[1]))
        assert "reading.steps(layer=1, head=2, query=1" in cell["python"]


def test_changes_and_effects():
    viewed = Viewed(read(TEXT, tiny.loaded("gpt2")))
    head, arrays, _ = ask(viewed, "change", cuts="1.2,0.1:5>2")
    assert head["kind"] == "next" and head["divergence"] > 0
    assert arrays["shares"].shape == (len(head["candidates"]), 2)
    head, arrays, _ = ask(viewed, "effects", layer=1, head=2, token=9)
    assert head["head"] > 0 and (np.diff(arrays["weights"]) <= 0).all()
    assert len(arrays["keys"]) == len(arrays["norms"]) == len(arrays["effects"])


def test_a_long_text_stays_within_its_budgets():
    viewed = Viewed(read("cat " * 700, tiny.loaded("llama"), beyond_limit=True))
    length = len(viewed.reading.tokens)
    assert length > 600
    assert ask(viewed, "head", layer=0, head=0)[2] <= 64 * 1024
    assert ask(viewed, "row", layer=0, head=0, token=5)[2] <= 4 * length + 2000
    assert ask(viewed, "overview", layer=0, head=0)[2] <= 64 * 1024 + 8 * length + 2000
    tile = ask(viewed, "tile", layer=0, head=0, level=1, i=0, j=1)[1]["shades"]
    dense = viewed.reading.decoder[0][0, 0].numpy()
    block = dense[:512, 512:1024]
    height, width = (-(-n // 2) for n in block.shape)
    padded = np.zeros((2 * height, 2 * width))
    padded[: block.shape[0], : block.shape[1]] = block
    expected = padded.reshape(height, 2, width, 2).max((1, 3))
    got = ((np.maximum(tile.astype(float), 1) - 1) / 254) ** 2
    np.testing.assert_allclose(np.sqrt(got), np.sqrt(expected), atol=0.5 / 254 + 1e-6)


def test_tiles_finer_than_the_overview_are_computed(monkeypatch):
    from eyeline.view import viewed as module
    from eyeline.view.answers import maps

    monkeypatch.setattr(module, "BASE", 256)
    monkeypatch.setattr(maps, "BASE", 256)
    viewed = Viewed(read("cat dog " * 300, tiny.loaded("mistral"), beyond_limit=True))
    levels = ask(viewed, "overview", layer=0, head=0)[0]["levels"]
    dense = viewed.reading.decoder[0][0, 0]
    assert len(levels) > 1
    fine = ask(viewed, "tile", layer=0, head=0, level=0, i=1, j=1)[1]["shades"]
    part = dense[256:512, 256:512]
    got = ((np.maximum(fine.astype(float), 1) - 1) / 254) ** 2
    np.testing.assert_allclose(np.sqrt(got), part.sqrt(), atol=0.5 / 254 + 1e-6)
    assert ((fine == 0) <= (part == 0).numpy()).all()


def test_aligned_tokens():
    one = read("the cat sat on the mat", tiny.loaded("bert")).tokens
    other = read("the cat sat quietly on the mat", tiny.loaded("bert")).tokens
    pairs = aligned(one, other)
    assert all(one[i].label == other[j].label for i, j in pairs)
    assert len(pairs) == len(one) and pairs == sorted(pairs)


def test_compare_counts_what_moved():
    a = Viewed(read("the cat sat", tiny.loaded("gpt2")))
    _, arrays = unpack(compare(a, a, ("decoder", "decoder")))
    assert arrays["changes"].max() < 1e-9
    b = Viewed(read("the cat sat on the mat", tiny.loaded("gpt2")))
    _, arrays = unpack(compare(a, b, ("decoder", "decoder")))
    # causal: what stands behind changes nothing
    assert arrays["changes"].max() < 1e-6


def test_progress_stops_the_work():
    viewed = Viewed(read(TEXT, tiny.loaded("bert")))

    class Enough(Exception):
        pass

    def tick(done, total):
        raise Enough

    params = {"layer": "1", "head": "0", "token": "1"}
    for question in ("steps", "heads", "effects"):
        with pytest.raises(Enough):
            QUESTIONS[question](Asked(viewed, params, tick))


def test_nan_travels():
    reading = read(TEXT, tiny.loaded("bert"))
    problem = reading.encoder[0].problem
    query = problem.query.clone()
    query[0, 0, 3, 0] = torch.nan
    reading.encoder[0] = eyeline.observe(query, problem.key, problem.value)[1]
    row = ask(Viewed(reading), "look", token=3, layer=0, head=0)[1]["row"]
    assert (row == 65535).all()
