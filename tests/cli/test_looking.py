"""`eyeline look`, `steps`, `heads`, `compare` by what they print."""

import json
import re

import pytest

import _tiny_models as tiny
from _command_line import look_of
from eyeline.readings import read


def test_look(eyeline):
    reading = read(tiny.TEXT, tiny.loaded("bert"))
    code, out, err = eyeline(*look_of("bert", "--token", "it"))
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    assert reading.look("it").sentence() in flat
    for edge in reading.look("it").edges(3):
        assert edge.key.label in out and f"{edge.weight:.4f}"[:5] in out


def test_a_text_is_read_by_what_is_built_in(eyeline, monkeypatch, tmp_path):
    """No model is named, none is on this machine, and there is no network."""
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = eyeline("look", "The cat sat because it was tired", "--token", "it", "--json")
    assert code == 0 and json.loads(out)["model"] == "tiny-bert"
    assert err == "Read by tiny-bert, built in. --model minilm shows more of English.\n"
    code, out, err = eyeline("compare", "The cat sat")
    assert code == 0 and "tiny-bert" in out and "tiny-gpt" in out and err == ""


def test_look_at_everything(eyeline):
    code, out, _ = eyeline(*look_of("bert"))
    reading = read(tiny.TEXT, tiny.loaded("bert"))
    assert code == 0
    for token in reading.tokens:
        assert reading.look(token.index).sentence().split(";")[0][:40] in " ".join(out.split())


@pytest.mark.parametrize("family", ["bert", "mistral", "gpt-oss", "t5"])
def test_steps(eyeline, family):
    arguments = ["--layer", 1, "--head", 2, "--token", "animal"]
    text = ["--target", tiny.TARGET] if family == "t5" else []
    code, out, err = eyeline("steps", tiny.TEXT, "--model", tiny.folder(family), *arguments, *text)
    assert (code, err) == (0, "")
    reading = read(tiny.TEXT, tiny.loaded(family), target=tiny.TARGET if text else None)
    steps = reading.steps(1, 2, "animal")
    flat = " ".join(out.split())
    for stage in steps.stages:
        assert stage.title.split(":")[0] in flat, stage.name
    assert str(steps.verify()).split("vs")[0].strip()[:7] in flat


def test_json_is_the_api(eyeline):
    reading = read(tiny.TEXT, tiny.opened("bert-mlm"))
    model = tiny.folder("bert-mlm")

    def data(*arguments):
        code, out, err = eyeline(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out, parse_constant=pytest.fail)

    one = data(*look_of("bert-mlm", "--token", "it", "--layer", 1))
    expected = reading.look("it", layer=1)
    assert one["weights"] == expected.weights.tolist()
    assert one["tokens"] == [t.label for t in reading.tokens]
    hidden = data(*look_of("bert-mlm", "--token", "it", "--hide-sink"))
    assert hidden["hidden_sink"] == reading.look("it", hide_sink=True).hidden
    every = data(*look_of("bert-mlm"))
    assert [n["query"]["index"] for n in every["looks"]] == list(range(len(reading.tokens)))
    made = data("steps", tiny.TEXT, "-m", model, "--layer", 0, "--head", 1, "-t", "it")
    steps = reading.steps(0, 1, "it")
    values = {s["name"]: s["values"] for s in made["stages"]}
    assert values["output"] == steps["output"].values.tolist()
    assert made["max_delta"] == steps.verify().max_delta
    heads = data("heads", tiny.TEXT, "-m", model)
    assert heads["heads"] == [r.to_dict() for r in reading.heads()]


def test_json_of_a_mask_is_json(eyeline):
    code, out, _ = eyeline(
        *("steps", tiny.TEXT, "-m", tiny.folder("mistral"), "--layer", 0, "--head", 0),
        *("--token", "#9", "--json"),
    )
    assert code == 0
    json.loads(out, parse_constant=pytest.fail)


def test_heads(eyeline):
    code, out, _ = eyeline("heads", "--model", tiny.folder("gpt2"))
    assert code == 0 and "unsure" in out


def test_a_target_and_cross_attention(eyeline):
    options = ("--target", tiny.TARGET, "--kind", "cross", "--token", "animal", "--json")
    code, out, _ = eyeline(*look_of("t5", *options))
    data = json.loads(out)
    assert code == 0 and data["kind"] == "cross"
    assert len(data["weights"][0][0]) == len(data["tokens"])
    assert "animal" in data["target_tokens"]


def test_an_encoder_decoder_shows_what_it_writes_from_what(eyeline):
    def kind(*options):
        code, out, _ = eyeline("look", "photograph", "--model", "g2p", "--json", *options)
        assert code == 0
        return json.loads(out)["kind"]

    code, out, _ = eyeline("look", "photograph", "--model", "g2p")
    said = " ".join(out.split())  # however wide the terminal is
    assert code == 0 and re.search(
        r" 0 <pad> looks on average at p \d\d %, .*? Then: F 1 F looks", said
    )
    assert kind("--token", "OW") == "cross"
    assert kind("--token", "ow") == "cross"
    assert kind("--token", "g") == kind("--token", "p:2") == "encoder"
    assert kind("--token", "g", "--kind", "cross") == "cross"
    code, _, err = eyeline("look", "photograph", "--model", "g2p", "--token", "zebra")
    assert code != 0 and "tokens are p h o t g r a; nor has what the model writes: <pad> F" in err


def test_standard_input(eyeline):
    code, out, _ = eyeline(*look_of("bert", "--token", "it", "--json", text="-"), stdin="it slept")
    assert code == 0 and json.loads(out)["text"].strip() == "it slept"


def test_truncation_is_asked_for(eyeline):
    options = ("--token", "it", "--truncate", "--json")
    code, out, _ = eyeline(*look_of("bert", *options, text="it was " * 99))
    data = json.loads(out)
    assert code == 0 and len(data["tokens"]) == 64 and data["tokens"][-1] == "[SEP]"


def test_compare(eyeline):
    pair = f"{tiny.folder('bert')},{tiny.folder('gpt2')}"
    code, out, err = eyeline("compare", tiny.TEXT, "--models", pair, "--token", "cross")
    assert (code, err) == (0, "")
    assert "never ahead" in out and "front and behind" in out
    code, out, _ = eyeline("compare", tiny.TEXT, "--models", pair, "--json", "-t", "cross")
    made = json.loads(out, parse_constant=pytest.fail)
    both, back = made["models"]
    assert made["text"] == tiny.TEXT and (both["kind"], back["kind"]) == ("encoder", "decoder")
    assert all(all(row) for row in both["may"]) and back["may"][0] == [True] + [False] * (
        len(back["tokens"]) - 1
    )
    assert both["look"]["query"]["label"] == "cross"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--models", ","), "name at least one model"),
        (("--models", "{bert},{gpt2}", "--token", "zebra"), "bert: the text has no token"),
        (("--models", "{bert}", "--kind", "cross"), "no cross attention"),
        (("--models", "no-such-model"), "no model"),
    ],
)
def test_compare_says_what_is_wrong(eyeline, options, said):
    names = {name: tiny.folder(name) for name in ("bert", "gpt2")}
    code, out, err = eyeline("compare", tiny.TEXT, *(o.format(**names) for o in options))
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
