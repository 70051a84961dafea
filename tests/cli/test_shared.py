"""What holds for every command: one line of error, clean output, a clean end."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import _tiny_models as tiny
from _command_line import SOURCE, look_of, process


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


def test_json_holds_no_control_character_and_every_letter(eyeline):
    text = "it\x7f \x80 \x9b31m é 東 \x1b[0m slept"
    code, out, _ = eyeline(*look_of("gpt2", "--token", "#0", "--json", text=text))
    assert code == 0 and json.loads(out)["text"] == text
    assert not [c for c in out if not (c.isprintable() or c == "\n")]
    assert "é 東" in out and "\\u009b31m" in out and "\\u007f" in out


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


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["models", "list"], 0), (["look", ""], 2), (["no-such-command"], 2), ([], 2)],
)
def test_the_exit_status_is_the_commands(arguments, status):
    code, out, err = process(*arguments)
    assert code == status and "Traceback" not in err
    assert (out != "") == (status == 0) or not arguments


def test_a_traceback_ends_with_1(tmp_path):
    (tmp_path / "typer.py").write_text("raise RuntimeError('broken')")
    code, out, err = process("look", "x", PYTHONPATH=os.pathsep.join([str(tmp_path), SOURCE]))
    assert code == 1 and "RuntimeError: broken" in err and out == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's own")
def test_output_that_cannot_be_written_is_no_success():
    command = [sys.executable, "-m", "eyeline", *map(str, look_of("bert"))]
    environment = os.environ | {"PYTHONPATH": SOURCE, "HF_HUB_OFFLINE": "1"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, timeout=60
        )
    assert done.returncode in (2, 120) and "Traceback" not in done.stderr
