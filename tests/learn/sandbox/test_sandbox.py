"""Hostile programs end in time, leave nothing running and change nothing; data comes back."""

import time
from pathlib import Path

import pytest
import torch
from _hostile import HOSTILE

from eyeline.learn.practice.progress import Progress
from eyeline.learn.sandbox import Call, Limits, Opaque, Sandbox
from eyeline.learn.sandbox.protection import namespaces
from eyeline.learn.sandbox.sandbox import _children

QUICK = Limits(seconds=1.0)
DEFAULT = ("signals caught", "fork bomb", "gigabytes of output", "delete the progress")

confined = pytest.mark.skipif(namespaces() is None, reason="this system grants no namespaces")


@pytest.fixture
def progress(tmp_path) -> Progress:
    made = Progress(tmp_path / "practice" / ".eyeline-practice.db")
    made.ran("scale", True)
    return made


def in_the_namespace(link: str) -> list[str]:
    """Processes of this machine that live in a PID namespace."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if str((folder / "ns" / "pid").readlink()) == link:
                    found.append(folder.name)
            except OSError:
                continue
    return found


def namespace_of(box: Sandbox) -> str:
    (first,) = _children(box._process.pid)
    return str(Path(f"/proc/{first}/ns/pid").readlink())


def survive(name: str, progress: Progress, **options) -> None:
    source, accepted = HOSTILE[name]
    source = source.replace("{progress!r}", repr(str(progress.path)))
    source = source.replace("{folder!r}", repr(str(progress.path.parent)))
    before = progress.done()
    with Sandbox(QUICK, **options) as box:
        box.start()
        pid, scratch = box._process.pid, box._scratch
        inside = namespace_of(box) if box._own_namespaces else None
        began = time.monotonic()
        reply = box.load(source, "hostile.py")
        took = time.monotonic() - began
    assert took < QUICK.seconds + 1, f"{took:.2f} s"
    error = reply.answer.get("error", {}).get("type") if reply.stopped is None else None
    assert str(reply.stopped or error) in accepted.split(), reply
    assert not Path(f"/proc/{pid}").exists() and not Path(scratch).exists()
    assert inside is None or in_the_namespace(inside) == []
    assert progress.done() == before


@confined
@pytest.mark.parametrize("name", DEFAULT)
def test_hostile(name, progress):
    survive(name, progress)


@confined
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in DEFAULT])
def test_every_hostile_program(name, progress):
    survive(name, progress)


def test_there_are_enough_hostile_programs():
    assert len(HOSTILE) >= 25


def test_data_goes_there_and_back(box):
    source = (
        "import numpy\n"
        "def same(*args, **kwargs): return (*args, kwargs)\n"
        "def array(): return numpy.arange(3.0)\n"
        "def strange(): return [object(), same, 1j, {1: 2}]\n"
    )
    loaded = box.load(source, "data.py")
    assert set(loaded.answer["names"]) >= {"same", "array", "strange"}
    tensors = [torch.randn(2, 3), torch.arange(4), torch.tensor([True, False]), torch.tensor(2.5)]
    given = (None, True, 3, 2.5, "text", [1, (2, 3)], {"a": tensors[0]}, *tensors)
    calls = [Call("same", given, {"k": tensors[1]}), Call("array", ()), Call("strange", ())]
    same, array, strange = box.call(calls).answer
    *values, keywords = same["value"]
    assert values[:6] == list(given[:6])
    assert torch.equal(values[6]["a"], tensors[0]) and torch.equal(keywords["k"], tensors[1])
    for mine, theirs in zip(values[7:], tensors, strict=True):
        assert torch.equal(mine, theirs) and mine.dtype == theirs.dtype
    assert array["value"].tolist() == [0, 1, 2]
    assert strange["value"][:3] == [Opaque("object"), Opaque("function"), Opaque("complex")]


def test_errors_come_with_the_learners_line(box):
    box.load("def f():\n    x = 1\n    return x / 0\n", "mine.py")
    (answer,) = box.call([Call("f", ())]).answer
    assert answer["error"]["type"] == "ZeroDivisionError"
    assert (answer["error"]["number"], answer["error"]["line"]) == (3, "return x / 0")
    (answer,) = box.call([Call("g", ())]).answer
    assert answer == {"missing": "g"}
    reply = box.load("def f(:\n", "mine.py")
    assert reply.answer["error"]["type"] == "SyntaxError"
    assert reply.answer["error"]["number"] == 1


def test_gradients_come_back(box):
    box.load("def f(x, y): return (x * y).sum(-1)", "f.py")
    x, y = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    (answer,) = box.call([Call("f", (x, y), grad=True)]).answer
    assert torch.equal(answer["grads"][0], y) and torch.equal(answer["grads"][1], x)


def test_what_is_printed_comes_back(box):
    assert box.load("print('hello'); import sys; sys.stderr.write('there')", "p.py").printed == (
        "hello\nthere"
    )
    assert box.load("", "p.py").printed == ""


def test_an_example_of_a_docstring(box):
    box.load("def two():\n    '''\n    >>> two()\n    3\n    '''\n    return 2\n", "d.py")
    answer = box.doctest().answer
    assert (answer["failed"], answer["tried"]) == (1, 1) and "Got:\n    2" in answer["said"]


def test_eyeline_is_not_there(box):
    reply = box.load("import eyeline.learn.exercises.e08_attention", "e.py")
    assert "writing it" in reply.answer["error"]["message"]


@confined
def test_hidden_folders_look_empty_and_the_environment_stays_outside(tmp_path, monkeypatch):
    (tmp_path / "solution.py").write_text("secret")
    monkeypatch.setenv("MY_SECRET", "x")
    with Sandbox(QUICK, hidden=[tmp_path]) as one:
        assert set(one.start().layers) >= {"limits", "namespaces", "read-only"}
        source = f"import os; print(os.listdir({str(tmp_path)!r}), 'MY_SECRET' in os.environ)"
        assert one.load(source, "h.py").printed == "[] False\n"


def test_without_namespaces_time_and_memory_still_end_it(progress):
    survive("infinite loop", progress, confined=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["huge tensor", "os._exit", "delete the progress", "fork bomb"])
def test_every_protection_without_namespaces(name, progress):
    survive(name, progress, confined=False)


def test_nothing_is_left_of_a_sandbox():
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else 0
    box = Sandbox(QUICK)
    box.close()
    box.close()
    if before:
        assert len(list(descriptors.iterdir())) <= before


def test_after_its_end_it_answers_that_it_ended():
    with Sandbox(QUICK) as box:
        assert box.load("import os; os._exit(3)", "x.py").exit_code == 3
        assert box.load("", "x.py").stopped == box.call([]).stopped == "ended"
