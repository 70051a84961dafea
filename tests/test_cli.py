"""The command line by its behaviour: what it prints where, and its exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import _tiny_models as tiny
from eyeline.cli import main
from eyeline.readings import read

SOURCE = str(Path(__file__).parent.parent / "src")


@pytest.fixture
def eyeline(monkeypatch, capsys, tmp_path):
    """`eyeline("look", …)`: the command line in this process; `(code, out, err)`."""
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments, stdin: str = ""):
        monkeypatch.setattr(sys, "argv", ["eyeline", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", __import__("io").StringIO(stdin))
        before = signal.getsignal(signal.SIGPIPE)
        with pytest.raises(SystemExit) as end:
            main()
        signal.signal(signal.SIGPIPE, before)
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def process(*arguments, wait=True, **environment):
    given = os.environ | {"PYTHONPATH": SOURCE, "HF_HUB_OFFLINE": "1"} | environment
    command = [sys.executable, "-m", "eyeline", *map(str, arguments)]
    pipe = subprocess.PIPE
    started = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=given)
    if not wait:
        return started
    out, err = started.communicate(timeout=60)
    return started.returncode, out, err


def look_of(family, *options, text=tiny.TEXT):
    return ["look", text, "--model", tiny.folder(family), *options]


def test_look(eyeline):
    reading = read(tiny.TEXT, tiny.loaded("bert"))
    code, out, err = eyeline(*look_of("bert", "--token", "it"))
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    assert reading.look("it").sentence() in flat
    for edge in reading.look("it").edges(3):
        assert edge.key.label in out and f"{edge.weight:.4f}"[:5] in out


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


def test_json_holds_no_control_character_and_every_letter(eyeline):
    text = "it\x7f \x80 \x9b31m é 東 \x1b[0m slept"
    code, out, _ = eyeline(*look_of("gpt2", "--token", "#0", "--json", text=text))
    assert code == 0 and json.loads(out)["text"] == text
    assert not [c for c in out if not (c.isprintable() or c == "\n")]
    assert "é 東" in out and "\\u009b31m" in out and "\\u007f" in out


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


def test_standard_input(eyeline):
    code, out, _ = eyeline(*look_of("bert", "--token", "it", "--json", text="-"), stdin="it slept")
    assert code == 0 and json.loads(out)["text"].strip() == "it slept"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(tiny.folder("bert"), tmp_path / "copy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (look_of("bert", "--token", "animol"), "did you mean 'animal'"),
        (look_of("bert", "--token", "#99"), "0 to "),
        (look_of("bert", "--token", "it:9", text="it or it"), "'it:1' to 'it:2'"),
        (look_of("bert", "--token", "it", "--layer", "2"), "layers are 0 to 1"),
        (look_of("bert", "--token", "it", "--layer", "-1"), "layers are 0 to 1"),
        (look_of("bert", "--token", "it", "--head", "4"), "heads are 0 to 3"),
        (look_of("bert", "--head", "4"), "heads are 0 to 3"),
        (look_of("bert", "--token", "it", "--kind", "cross"), "choose from encoder"),
        (look_of("bert", "--kind", "sideways"), "choose from encoder"),
        (look_of("bert", text=""), "text is empty"),
        (look_of("bert", text=" \n"), "text is empty"),
        (look_of("bert", text="it was " * 99), "reads at most 64"),
        (look_of("bert", "--target", "it"), "no encoder-decoder"),
        (["look", "it", "--model", "minilmm"], "minilm"),
        (["look", "it", "--model", "./nowhere/at/all"], "no folder"),
        (["heads", "it", "-m", tiny.folder("t5"), "--kind", "cross"], "self-attention"),
        (["models", "get", "minilmm"], "minilm"),
    ],
    ids=lambda a: a if isinstance(a, str) else None,
)
def test_bad_input_is_one_line(eyeline, arguments, message):
    code, out, err = eyeline(*arguments)
    assert code == 2 and out == ""
    assert err.startswith("eyeline: ") and err.count("\n") == 1
    assert message in err and "Traceback" not in err


def test_folders_that_are_no_model(eyeline, folder, tmp_path):
    def error():
        code, out, err = eyeline("look", "it", "--model", folder)
        assert (code, out) == (2, "") and err.count("\n") == 1
        return err

    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickle" in error()
    (folder / "pytorch_model.bin").unlink()
    assert "model.safetensors" in error()
    (folder / "config.json").unlink()
    assert "no config.json" in error()


def test_truncation_is_asked_for(eyeline):
    options = ("--token", "it", "--truncate", "--json")
    code, out, _ = eyeline(*look_of("bert", *options, text="it was " * 99))
    data = json.loads(out)
    assert code == 0 and len(data["tokens"]) == 64 and data["tokens"][-1] == "[SEP]"


@pytest.mark.parametrize("arguments", [["look"], ["look", "it", "--layer", "x"], ["nothing"]])
def test_wrong_usage(eyeline, arguments):
    code, out, err = eyeline(*arguments)
    assert code == 2 and out == "" and "Traceback" not in err and "Usage" in err


@pytest.mark.parametrize("arguments", [["--help"], ["look", "-h"], ["models", "--help"]])
def test_help(eyeline, arguments):
    code, out, _ = eyeline(*arguments)
    assert code == 0 and "Usage" in out


def test_models_list(eyeline):
    code, out, _ = eyeline("models", "list")
    assert code == 0 and "minilm" in out and "smollm2" in out
    code, out, _ = eyeline("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"minilm", "smollm2"} <= set(rows) and rows["minilm"]["cached"] is None


def test_what_the_text_holds_never_reaches_the_terminal_raw(eyeline):
    text = "it \x1b[31mwas\x07 \x9b2J \u202e tired"
    for options in ((), ("--token", "it"), ("--token", "it", "--layer", "0", "--head", "1")):
        code, out, err = eyeline(*look_of("gpt2", *options, text=text))
        assert code == 0 and not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out + err)
    code, _, err = eyeline(*look_of("gpt2", "--token", "\x1b[2Jx"))
    assert code == 2 and "\x1b" not in err


def test_piped_output_is_plain_even_when_colours_are_wanted_elsewhere():
    code, out, err = process(*look_of("bert", "--token", "it"), NO_COLOR="1")
    assert code == 0, err
    assert "\x1b" not in out + err and "it looks" in out


def test_a_closed_pipe_is_no_error():
    started = process(*look_of("bert"), wait=False)
    assert started.stdout.readline()
    started.stdout.close()
    err = started.stderr.read()
    started.stderr.close()
    started.stdin.close()
    started.wait(timeout=60)
    assert "Traceback" not in err


def test_ctrl_c_while_it_waits_for_text():
    started = process(*look_of("bert", text="-"), wait=False)
    started.stdin.write("more than a pipe holds " * 2**16)
    started.stdin.flush()  # returns once the process is reading, and it reads until there is an end
    started.send_signal(signal.SIGINT)
    # a signal that comes just before the system call is heard after it: do not let it wait forever
    started.stdin.close()
    started.wait(timeout=60)
    with started.stdout, started.stderr:
        assert "Traceback" not in started.stderr.read()
    assert started.returncode == 130


@pytest.mark.parametrize("module", ["typer", "torch", "transformers"])
def test_ctrl_c_in_the_middle_of_an_import(module, tmp_path):
    interrupt = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    (tmp_path / f"{module}.py").write_text(interrupt)
    path = os.pathsep.join([str(tmp_path), SOURCE])
    family = "roberta" if module == "transformers" else "bert"  # which eyeline has itself
    code, out, err = process(*look_of(family), PYTHONPATH=path)
    assert code == 130 and out == "" and "Traceback" not in err


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


@pytest.mark.parametrize("ending", ["html", "csv", "json", "npz", "svg"])
def test_export_writes_what_the_ending_says(eyeline, tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    code, out, err = eyeline(
        "export", tiny.TEXT, "--model", tiny.folder("bert"), "-o", path, "--token", "#3"
    )
    assert (code, err) == (0, "")
    assert out.startswith(str(path)) and path.stat().st_size > 100


def test_export_of_a_file(eyeline, tmp_path):
    (tmp_path / "paper.txt").write_text(tiny.TEXT, encoding="utf-8")
    path, model = tmp_path / "a.json", tiny.folder("bert")
    code, _, _ = eyeline(
        "export", tmp_path / "paper.txt", "-m", model, "-o", path, "-t", "#3", "--layer", 1
    )
    assert code == 0 and json.loads(path.read_text(encoding="utf-8"))["text"] == tiny.TEXT


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["the cat", "-o", "a.doc"], "the ending says what is written"),
        (["no.txt", "-o", "a.html"], "there is no file"),
        (["the cat", "-o", "a.json"], "which token"),
        (["  ", "-o", "a.html"], "text is empty"),
    ],
)
def test_what_cannot_be_exported(eyeline, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = eyeline("export", *arguments, "--model", tiny.folder("bert"))
    assert code == 2 and message in err and err.count("\n") == 1 and out == ""
    assert not list(tmp_path.glob("a.*"))


def test_open_refuses_before_it_serves(eyeline, tmp_path):
    for arguments, message in (
        (["  "], "text is empty"),
        ([str(tmp_path / "no.txt")], "there is no file"),
        (["the cat", "--model", str(tmp_path)], "config.json"),
    ):
        code, _, err = eyeline("open", "--no-browser", *arguments)
        assert code == 2 and message in err, err


ATTENTION = """
import math, torch

def good(q, k, v):
    return torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), -1) @ v

def bad(q, k, v):
    return torch.softmax(q @ k.mT, -1) @ v

def mystery(one):
    return one
"""


def test_check(eyeline, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(ATTENTION)
    code, out, err = eyeline("check", f"{file}:good")
    assert (code, err) == (0, "") and "good: right (attention)" in out
    code, out, err = eyeline("check", f"{file}:bad")
    assert (code, err) == (1, "") and "not scaled" in out and "expected" in out
    code, out, _ = eyeline("check", f"{file}:bad", "--json")
    data = json.loads(out)
    assert code == 1 and data["name"] == "not scaled" and data["ok"] is False
    code, out, err = eyeline("check", f"{file}:mystery")
    assert code == 2 and out == "" and err.count("\n") == 1 and "I cannot tell" in err
    code, _, err = eyeline("check", "nowhere.py:f")
    assert code == 2 and "there is no file" in err
    code, out, _ = eyeline("check", f"{file}:good", "--causal", "yes")
    assert code == 1 and "not causal" in out
