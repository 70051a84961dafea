import _tiny_models as tiny
from eyeline.readings import read
from eyeline.view import terminal
from eyeline.view.compare import _bar, _shade, render_compare


def drawn(*names, token=None, text=tiny.TEXT, width=120):
    readings = [read(text, tiny.named(name)) for name in names]
    sights = [r.sight() for r in readings]
    looks = None if token is None else [r.look(token) for r in readings]
    return terminal.to_text(render_compare(readings, sights, looks), width)


def test_every_pair_of_tokens():
    shown = drawn("our bert", "our gpt2")
    assert "bert" in shown and "gpt2" in shown
    assert "encoder: every token may look at every other" in shown
    assert "decoder: a token may look back and at itself" in shown
    first = next(line for line in shown.splitlines() if "[CLS]" in line)
    left, right = first.split("│ │")
    cells = left.split("[CLS]")[1].strip()
    assert len(cells) == len(read(tiny.TEXT, tiny.named("our bert")).tokens)
    # the decoder's first token sees itself alone, all of its weight
    assert right.split("│")[0].split()[-1].endswith("█")
    assert "blank: may not" in shown and "means over all layers and heads" in shown


def test_one_token():
    shown = drawn("our bert", "our gpt2", token="cross")
    assert "cross may look at 19 of 19 tokens" in " ".join(shown.split()) or "may look at" in shown
    assert "0 % ahead" in " ".join(shown.replace("│", " ").split())
    assert "○" in shown and "–" in shown


def test_a_narrow_window_puts_them_one_below_the_other():
    shown = drawn("our bert", "our gpt2", token="cross", width=60)
    assert max(len(line) for line in shown.splitlines()) <= 60
    assert shown.index("bert") < shown.index("gpt2")


def test_a_long_text_needs_a_token():
    shown = drawn("our gpt2", text="it was " * 25)
    assert "are too many to draw every pair: choose one with --token" in " ".join(
        shown.replace("│", " ").split()
    )


def test_shades_and_bars():
    assert [_shade(w) for w in (0, 0.02, 0.1, 0.3, 0.9)] == list("·░▒▓█")
    assert _bar(0.5) == "█████" and _bar(0) == "" and _bar(float("nan")) == ""
    assert _shade(float("nan")) == "·"
