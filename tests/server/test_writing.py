"""A token at a time, then the whole text as a reading."""

import pytest

import _tiny_models as tiny
from eyeline.server import Opened, Shelf
from eyeline.server._writing import write
from eyeline.server.refusals import Refusal
from eyeline.view.packets import unpack


class Report:
    def __init__(self):
        self.items, self.told = [], []

    def __call__(self, *told):
        self.told.append(told)

    def item(self, packet):
        self.items.append(unpack(packet))


@pytest.fixture
def shelf():
    made = Shelf(Opened("the cat sat", "gpt2"))
    made.models["gpt2"] = tiny.opened("gpt2")
    made.models["bert"] = tiny.opened("bert")
    return made


def test_every_token_is_an_item_and_the_end_a_reading(shelf):
    report = Report()
    asked = {"text": "the cat sat", "model": "gpt2", "length": 4, "temperature": 0, "layer": 1}
    head, _ = unpack(write(shelf, asked, report))
    written = [about for about, _ in report.items]
    first = written[0]["index"]
    assert [w["index"] - first for w in written] == list(range(len(written)))
    assert 1 <= len(written) <= 4 and all(w["layer"] == 1 for w in written)
    assert head["id"] and any("writes" in told[0] for told in report.told)
    row = report.items[-1][1]["row"]
    assert len(row) == written[-1]["index"]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"length": 0}, "length=0: a number from 1 to 200"),
        ({"temperature": True}, "temperature=True"),
        ({"top_p": "much"}, "top_p='much'"),
        ({"text": 7}, "text and model are wanted"),
    ],
)
def test_settings_are_checked_before_anything_runs(shelf, wrong, words):
    with pytest.raises(Refusal) as caught:
        write(shelf, {"text": "the cat", "model": "gpt2"} | wrong, Report())
    assert words in str(caught.value)
