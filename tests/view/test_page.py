"""The page in one file: what is in it, and what is left out."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

import _tiny_models as tiny
from eyeline.readings import read
from eyeline.view.exporting import Shown
from eyeline.view.packets import unpack
from eyeline.view.page import budget, bundle, page_html


def kept(page):
    return json.loads(re.search(r'id="eyeline-data">(.*?)</script>', page, re.DOTALL)[1])


def packet(text):
    return unpack(zlib.decompress(base64.b64decode(text)))


@pytest.fixture(scope="module")
def reading():
    return read("the cat sat on the mat", tiny.loaded("gpt2"))


def test_every_head_of_a_short_text_is_in_it(reading):
    found = kept(page_html(reading))
    names = {n for n in found["answers"] if n.startswith("head ")}
    assert len(names) == 8 and found["left_out"] == 0
    head, arrays = packet(found["answers"]["head decoder 1 2 0"])
    row = np.zeros(len(reading.tokens))
    np.maximum.at(row, arrays["keys"][4], arrays["weights"][4] / 65534)
    np.testing.assert_allclose(row, reading.decoder[1][0, 2, 4], atol=8e-6)
    assert head["k"] == min(len(reading.tokens), 24)


def test_it_opens_where_it_was_asked_to(reading):
    state = kept(page_html(reading, Shown(3, 1, 2)))["state"]
    assert state == {"kind": "decoder", "token": 3, "layer": 1, "head": 2}


def test_what_does_not_fit_is_left_out_and_the_chosen_head_is_not(reading, monkeypatch):
    whole = len(page_html(reading))
    monkeypatch.setattr("eyeline.view.page.budget", lambda length: whole - 3000)
    page = page_html(reading, Shown(3, 1, 3))
    found = kept(page)
    assert found["left_out"] and "head decoder 1 3 0" in found["answers"] and len(page) < whole


def test_budgets():
    assert budget(10) < 2_000_000 and budget(8000) < 10_000_000 and budget(4500) < 6_000_000


def test_encoder_decoders(tmp_path):
    found = kept(page_html(read("the cat", tiny.loaded("t5"), target="the dog")))
    assert {n.split()[1] for n in found["answers"] if n.startswith("head ")} == {
        "encoder",
        "decoder",
        "cross",
    }


def test_nothing_in_it_comes_from_elsewhere():
    script, style = bundle()
    assert "</script" not in script
    assert re.findall(r"url\((?!data:)", style) == []
