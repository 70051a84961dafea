"""The widget answers as the server does; without it there is a picture in plain HTML."""

import threading

import numpy as np
import pytest

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.readings import read
from eyeline.view.notebook import answer, static_html, widget
from eyeline.view.packets import unpack
from eyeline.view.viewed import Viewed

TEXT = "the cat sat <b>on</b> the mat"


@pytest.fixture(scope="module")
def reading():
    return read(TEXT, tiny.loaded("gpt2"))


def test_a_message_is_answered_with_a_packet(reading):
    made = widget(reading, token=2, layer=1, head=0)
    sent, done = [], threading.Event()

    def send(content, buffers=None):
        sent.append((content, buffers))
        done.set()

    made.send = send
    made._asked(None, {"number": 7, "question": "look", "params": {"token": 2, "layer": 1}}, [])
    assert done.wait(5)
    ((content, buffers),) = sent
    assert content == {"number": 7}
    row = unpack(buffers[0])[1]["row"] / 65534
    np.testing.assert_allclose(row, reading.look(2, layer=1).mean, atol=8e-6)
    assert made.state == {"token": 2, "layer": 1, "head": 0}


@pytest.mark.parametrize("content", [None, [], {}, {"question": "rm"}, {"question": "look"}])
def test_a_bad_message_is_an_error(reading, content):
    with pytest.raises(EyelineError):
        answer(Viewed(reading), content)


def test_the_script_and_style_come_along(reading):
    made = widget(reading)
    assert "eyelineWidget" in made._esm and "export default" in made._esm
    assert "http://" not in made._css and "url(data:font/woff2" in made._css
    assert (
        "text/html" in (made._repr_mimebundle_() or ({"text/html": ""},))[0] or made._repr_html_()
    )


def test_plain_html_is_escaped_and_says_the_sentence(reading):
    text = static_html(reading)
    assert "<b>" not in text and "&lt;" in text and "<script" not in text
    last = len(reading.tokens) - 1
    assert reading.look(last).sentence().split(";")[0] in text.replace("&lt;", "<").replace(
        "&gt;", ">"
    )
    assert reading._repr_html_() == text


def test_outside_of_notebooks_show_serves_it(reading, capsys):
    server = reading.show(browser=False, token=2, lens="steps")
    assert "#token=" in capsys.readouterr().out and server.port
    server.stop()
