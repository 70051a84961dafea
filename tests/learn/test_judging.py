"""Right is right, forged is not, and each way to go wrong gets a sentence."""

import pytest
from _hostile import FORGED

from eyeline.learn.exercise import Exercise, Mistake, Probe
from eyeline.learn.judging import compare, judge, probes_of
from eyeline.learn.sandbox import Limits, Opaque, Reply, Sandbox
from eyeline.learn.wording import explain_stop

PATCHING = {
    "exit status 0",
    "torch's comparisons patched",
    "a forged answer on the pipe",
    "the encoder patched",
}

DOUBLING = Exercise(
    title="Double",
    function="double",
    solution=lambda x: 2 * x,
    minutes=1,
    difficulty=1,
    story="",
    hints=("", "", ""),
    probes=lambda draw: [Probe((draw(3, 4),)), Probe((draw(2, 5),))],
    mistakes=(Mistake("three times as much", lambda x: 3 * x, "Twice?"),),
    axes=("row", "column"),
    without=("mul",),
)


def verdict(source, box):
    return judge(DOUBLING, source, "double.py", box)


def test_there_are_enough_forgeries():
    assert len(FORGED) >= 15


@pytest.mark.parametrize("name", [name for name in FORGED if name not in PATCHING])
def test_forged_passes(name, box):
    assert not verdict(FORGED[name], box).ok
    assert verdict("def double(x): return x + x", box).ok


def test_a_patched_process_forges_nothing():
    with Sandbox(Limits(seconds=2)) as one:
        assert not verdict(FORGED["torch's comparisons patched"], one).ok


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PATCHING))
def test_every_patched_process(name):
    with Sandbox(Limits(seconds=2)) as one:
        assert not verdict(FORGED[name], one).ok


SENTENCES = {
    "def double(x): raise NotImplementedError": ("unsolved", "Not written yet"),
    "def double(x): return x * 3": ("wrong", "equals three times as much"),
    "def double(x): return x * 2.1": ("wrong", "position [0, 0] (row 0, column 0) is"),
    "def double(x): return None": ("wrong", "returns None"),
    "def double(x): return 'x'": ("wrong", "returns 'x'"),
    "def double(x): return [2 * x]": ("wrong", "returns a list of 1"),
    "def double(x): return (2 * x).T": ("wrong", "the shape is [4, 3], expected [3, 4]"),
    "def double(x): return x / 0 * 0": ("wrong", "is NaN"),
    "def double(x): return x.mul(2)": ("shortcut", "Line 1 uses mul"),
    "def double(x): x *= 2; return x.clone()": ("changed", "changed its inputs"),
    "def double(x): return (2 * x).to('meta')": ("wrong", "returns a Tensor"),
    "def double(x): return (2 * x).cuda()": ("error", "in line 1"),
    "def double(x, y): return 2 * x": ("error", "raised TypeError: double() missing"),
    "def double(x): return x.view(7, 7)": ("error", "raised RuntimeError in line 1"),
    "def duble(x): return 2 * x": ("error", "no function double"),
    "def double(x) return 2 * x": ("error", "cannot read your file in line 1"),
    "import nothing_of_that_name": ("error", "raised ModuleNotFoundError in line 1"),
    "import sys; sys.exit(3)": ("error", "left the program (SystemExit)"),
    "def double(x): return bytearray(1 << 40)": ("error", "more memory"),
    "open('/tmp/somewhere-else', 'w')": ("error", "not allowed here"),
    "\0": ("error", "cannot read your file"),
    "double = 3": ("error", "no function double"),
}


@pytest.mark.parametrize("source", SENTENCES)
def test_a_sentence_for_each_way_to_go_wrong(source, box):
    kind, words = SENTENCES[source]
    found = verdict(source, box)
    assert (found.kind, words in found.headline) == (kind, True), found


@pytest.mark.slow
def test_what_never_ends_and_what_prints_too_much():
    with Sandbox(Limits(seconds=0.5)) as one:
        found = verdict("def double(x):\n    while True: pass", one)
    assert found.kind == "stopped" and "did not finish within 0.5 s" in found.headline
    with Sandbox(Limits(printed=1000)) as one:
        found = verdict("print('x' * 2000)\ndef double(x): return 2 * x", one)
    assert found.kind == "stopped" and "printed more than" in found.headline


def test_why_it_was_stopped_in_words():
    limits = Limits()
    for reason in ("time", "printed", "answer", "ended", "protocol"):
        said, question = explain_stop(Reply(None, reason, "", 1, 1.0), limits)
        assert said.endswith(".") and question.endswith(("?", "."))


def test_what_was_printed_is_in_the_verdict(box):
    found = verdict("def double(x):\n    print(x.shape)\n    return 3 * x", box)
    assert "torch.Size([3, 4])" in found.printed and not found.ok


def test_lower_precision_passes_or_is_named(box):
    assert verdict("def double(x): return 2 * x.float()", box).ok
    found = verdict("def double(x): return 2 * x.half()", box)
    assert found.kind == "wrong" and "lower precision" in " ".join(found.evidence)


def test_answers_that_are_none_of_the_protocol():
    probes = probes_of(DOUBLING)
    for answer in (None, 3, "PASS", [], {}, {"value": Opaque("x")}, {"error": 3}, {"error": {}}):
        assert not compare(DOUBLING, probes, [answer] * len(probes)).ok
    assert not compare(DOUBLING, probes, [{"value": 2 * p.args[0]} for p in probes]).ok


def test_several_functions_are_judged_one_after_the_other(box):
    from eyeline.learn.master import find

    master = find("pooling_and_loss")
    todo = 'raise NotImplementedError("your code goes here")'
    stub = master.stub()
    first = judge(master.exercise, stub.replace(todo, "return x.mean(1)", 1), "p.py", box)
    assert first.mistake == "a mean over the padding too"
    pooled = "return torch.stack([y[:n].mean(0) for y, n in zip(x, lengths)])"
    second = judge(master.exercise, stub.replace(todo, pooled, 1), "p.py", box)
    assert second.headline == "next_token_loss: not written yet."


def test_a_diagnosis_may_ask_the_function_more(box, monkeypatch):
    """The doctor brings inputs of its own."""
    import inspect

    import torch

    from eyeline.learn import judging
    from eyeline.learn.master import find

    asked = []
    monkeypatch.setattr(judging, "diagnose", lambda *given: asked.append(given[-1]))
    master = find("08_attention")
    wrong = master.solution().replace("/ math.sqrt(query.shape[-1])", "")
    assert judge(master.exercise, wrong, "a.py", box).kind == "wrong"
    (ask,) = asked
    assert list(inspect.signature(ask).parameters) == ["query", "key", "value"]
    query, key, value = torch.ones(1, 1, 2, 4), torch.ones(1, 1, 3, 4), torch.randn(1, 1, 3, 5)
    assert torch.allclose(
        ask(query, key, value=value), value.mean(-2, keepdim=True).expand(-1, -1, 2, -1)
    )
    with pytest.raises(RuntimeError, match="attention gave no value"):
        ask(query, key, "text")
