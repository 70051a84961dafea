"""Models and readings within a budget of memory."""

import pytest

import _tiny_models as tiny
from eyeline.readings import read
from eyeline.server import Opened, Shelf
from eyeline.server.refusals import Gone, TooLarge
from eyeline.server.shelf import bytes_per_token


def shelf(**options):
    made = Shelf(Opened("the cat sat", "bert"), **options)
    made.models |= {name: tiny.loaded(name) for name in ("bert", "gpt2", "llama", "t5")}
    return made


def quiet(stage, done, total):
    pass


def test_the_budget_is_a_quarter_of_what_is_free():
    assert 0 < shelf().budget < 2**40


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
def test_what_a_reading_keeps_is_not_underestimated(family):
    loaded = tiny.loaded(family)
    for keep in ("vectors", "inputs"):
        target = {"target": "the"} if family in tiny.PAIRS else {}
        reading = read("the cat sat on the mat", loaded, keep=keep, **target)
        kept = sum(m.nbytes for kind in reading.kinds for m in reading.maps(kind).values())
        assert kept <= bytes_per_token(loaded, keep) * len(reading.tokens) * 1.01


def test_a_long_text_keeps_its_inputs():
    made = shelf()
    need = bytes_per_token(made.models["llama"]) * 30
    made.budget = int(1.5 * need)
    assert made.admit(made.models["llama"], "the " * 5)[0] == "vectors"
    assert made.admit(made.models["llama"], "the " * 28)[0] == "inputs"


def test_what_does_not_fit_alone_is_refused_with_what_would():
    made = shelf()
    made.budget = 10 * bytes_per_token(made.models["llama"], "inputs")
    with pytest.raises(TooLarge, match="memory for 10") as raised:
        made.admit(made.models["llama"], "the cat " * 30)
    assert raised.value.details == {"largest": 10}


def test_the_same_is_read_once_and_a_target_is_another_reading():
    made = shelf()
    one = made.read("the cat", "t5", "the dog", quiet)
    assert made.read("the cat", "t5", "the dog", quiet)[1] is one[1]
    assert made.read("the cat", "t5", "a dog", quiet)[0] != one[0]


def test_what_was_opened_may_go_beyond_the_limit_and_nothing_else():
    from eyeline.readings import TextTooLong

    text = "the cat " * 60
    made = Shelf(Opened(text, "llama", beyond_limit=True))
    made.models["llama"] = tiny.loaded("llama")
    assert len(made.read(text, "llama", None, quiet)[1].reading.tokens) > 64
    with pytest.raises(TextTooLong):
        made.read(text + " again", "llama", None, quiet)


def test_only_models_that_are_offered():
    with pytest.raises(Gone, match="no model of this page"):
        shelf().model("../../etc/passwd")
    with pytest.raises(Gone, match="not held any more"):
        shelf().reading("nothing")


def test_a_reading_that_was_made_elsewhere():
    made, reading = shelf(), read("the cat", tiny.loaded("bert"))
    assert made.reading(made.put(reading)).reading is reading


def test_so_many_are_held_and_what_was_given_stays(monkeypatch):
    from eyeline.server import shelf as module

    monkeypatch.setattr(module, "_MOST", 3)
    made = shelf()
    given = made.put(read("the dog sat", tiny.loaded("bert")))
    names = [made.read("cat " * (n + 1), "bert", None, quiet)[0] for n in range(4)]
    with pytest.raises(Gone):
        made.reading(names[0])
    assert all(made.reading(name) for name in [given, *names[1:]])
    made.read("cat " * 2, "bert", None, quiet)  # used again: another one goes next
    made.read("the cat", "bert", None, quiet)
    assert made.reading(names[1])
    with pytest.raises(Gone):
        made.reading(names[2])


def test_memory_goes_back_to_the_system_with_what_is_let_go_of(monkeypatch):
    from eyeline.server import shelf as module

    swept = []
    monkeypatch.setattr(module, "_MOST", 3)
    monkeypatch.setattr(module, "_SWEEP", 4)
    monkeypatch.setattr(module, "give_back", lambda: swept.append(len(made._readings)))
    made = shelf()
    for n in range(11):
        made.read("cat " * (n + 1), "bert", None, quiet)
    assert swept == [3, 3]  # after 4 and 8 of the 8 that went
