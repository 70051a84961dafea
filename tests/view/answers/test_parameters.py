"""What a page may ask with, and what it is told if it asks with anything else."""

import pytest

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.readings import read
from eyeline.view.answers import Asked
from eyeline.view.viewed import Viewed


@pytest.fixture(scope="module")
def viewed():
    return Viewed(read("the cat sat", tiny.loaded("t5"), target="the dog"))


@pytest.mark.parametrize("text", ["", " 1", *"-1 1.5 1e3 ９ ² 0x1 99999999999 x".split()])
def test_only_whole_numbers_are_numbers(viewed, text):
    with pytest.raises(EyelineError, match="whole number from 0"):
        Asked(viewed, {"token": text}).number("token")


def test_numbers_and_their_bounds(viewed):
    asked = Asked(viewed, {"n": "7", "all": "all", "none": ""})
    assert asked.number("n") == 7 and asked.number("absent", 3) == 3
    assert asked.number("n", most=7) == 7
    with pytest.raises(EyelineError, match="to 6 is wanted"):
        asked.number("n", most=6)
    assert [asked.optional(name) for name in ("n", "all", "none", "absent")] == [
        7,
        None,
        None,
        None,
    ]
    assert asked.token("n", 8) == 7
    with pytest.raises(EyelineError, match="tokens 0 to 6"):
        asked.token("n", 7)


def test_kinds_directions_switches(viewed):
    assert Asked(viewed).kind == viewed.reading.default_kind
    assert Asked(viewed, {"kind": "cross"}).kind == "cross"
    with pytest.raises(EyelineError, match="cross"):
        Asked(viewed, {"kind": "sideways"}).kind  # noqa: B018
    assert Asked(viewed, {"direction": "by"}).direction == "by"
    assert Asked(viewed, {"direction": "nowhere"}).direction == "at"
    assert Asked(viewed, {"hide": "1"}).flag("hide") and not Asked(viewed, {"hide": "yes"}).flag(
        "hide"
    )
