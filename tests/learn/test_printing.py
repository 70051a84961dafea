from rich.text import Text

from eyeline.learn.printing import show


def test_plain_where_nobody_watches(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "")
    show(Text("right", style="bold green"))
    out = capsys.readouterr().out
    assert out == "right\n"
