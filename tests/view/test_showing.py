"""Where a reading is shown."""

import webbrowser

import _tiny_models as tiny
from eyeline.readings import read
from eyeline.view import showing


def test_in_a_notebook_it_is_a_widget(monkeypatch):
    monkeypatch.setattr(showing, "in_notebook", lambda: True)
    made = read("the cat sat", tiny.loaded("bert")).show(token="the", layer=1)
    assert made.state == {"token": 1, "layer": 1}


def test_elsewhere_it_is_the_browser(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    server = read("the cat sat", tiny.loaded("bert")).show(lens="map")
    try:
        assert opened == [f"{server.link}#lens=map"]
        assert server.link in capsys.readouterr().out
    finally:
        server.stop()
