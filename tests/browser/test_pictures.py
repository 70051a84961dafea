"""Pixel snapshots of every lens, light and dark; and the pictures of README and docs.

`EYELINE_PICTURES=snapshots` writes the snapshots anew, `EYELINE_PICTURES=docs` the pictures. Fonts
are the page's own, so a snapshot differs where Chromium draws otherwise by a little, and where the
page has changed by much.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from _chromium import until

HERE = Path(__file__).parent / "snapshots"
DOCS = Path(__file__).parents[2] / "docs" / "explorer"
MODE = os.environ.get("EYELINE_PICTURES", "")

TEXT = "text=the+cat+sat+on+the+mat+and+it+was+tired&token=8"
LENSES = {
    "look": f"model=bert-words&{TEXT}&layer=1&head=2",
    "steps": f"model=llama-words&{TEXT}&layer=1&head=2&lens=steps",
    "heads": f"model=bert-words&{TEXT}&layer=1&head=2&lens=heads",
    "map": f"model=gpt2-words&{TEXT}&layer=1&head=2&lens=map",
    "compare": f"model=bert-words&{TEXT}&layer=1&head=2&lens=compare&model2=gpt2-words&scope=layer",
    "whatif": f"model=gpt2-words&{TEXT}&layer=1&head=2&lens=whatif&cuts=1.2",
    "generate": f"model=gpt2-words&{TEXT}&lens=generate",
}
SIZES = {"": (1440, 900), "-tablet": (1024, 768), "-narrow": (420, 860)}

_UNLIKE = 40
"""Levels of 255 by which a pixel must differ to count."""
_SHARE = 0.02
"""Share of the pixels that may count."""


def settle(page):
    page.mouse.move(2, 2)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)


def shrink(path):
    """256 colours without dots: a third of the bytes, and no pixel far from what it was.

    Not for the docs: colours that few pixels have go first, and amber is one of them.
    """
    picture = Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)


def compare(page, name):
    HERE.mkdir(exist_ok=True)
    path = HERE / f"{name}.png"
    shot = page.screenshot(animations="disabled", caret="hide")
    if MODE == "snapshots":
        path.write_bytes(shot)
        shrink(path)
        return
    found = path.with_suffix(".found.png")
    found.write_bytes(shot)
    new, old = (np.asarray(Image.open(p).convert("RGB")).astype(int) for p in (found, path))
    assert new.shape == old.shape
    share = float((np.abs(new - old).max(-1) > _UNLIKE).mean())
    assert share <= _SHARE, f"{share:.1%} of the pixels differ: see {found}"
    found.unlink()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lens", LENSES)
def test_pixels(visit, lens, scheme):
    page = visit(LENSES[lens], scheme=scheme).page
    if lens == "compare":
        until(lambda: "different models" in page.locator("#stage").inner_text())
    if lens == "whatif":
        page.wait_for_selector(".said")
        page.wait_for_selector("tr.whole")
    settle(page)
    compare(page, f"{lens}-{scheme}")


@pytest.mark.parametrize("size", ["-tablet", "-narrow"])
def test_pixels_of_smaller_windows(visit, size):
    width, height = SIZES[size]
    page = visit(LENSES["look"], width=width, height=height).page
    settle(page)
    compare(page, f"look{size}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


REAL = {
    "look": ("layer=3&head=1&token=10", None),
    "steps": ("layer=3&head=1&token=10&lens=steps", "pin"),
    "heads": ("layer=3&head=1&token=10&lens=heads", None),
    "map": ("layer=3&head=1&token=10&lens=map", "point"),
    "compare": ("layer=3&token=10&lens=compare&model2=smollm2&scope=layer", None),
    "whatif": ("layer=3&head=1&token=10&lens=whatif&cuts=3.1", None),
    "generate": ("model=smollm2&text=The+capital+of+France+is&lens=generate&length=14", "write"),
    "look-dark": ("layer=3&head=1&token=10", None),
}


@pytest.mark.skipif(MODE != "docs", reason="EYELINE_PICTURES=docs draws them")
@pytest.mark.parametrize("name", REAL)
def test_draw_the_docs(visit, real_model, name):
    state, act = REAL[name]
    page = visit(state, scheme="dark" if name.endswith("-dark") else "light").page
    page.wait_for_timeout(2500)
    if act == "pin":
        page.locator("[data-number=scores]").nth(1).click()
        page.wait_for_timeout(600)
    elif act == "write":
        page.get_by_role("button", name="Write", exact=True).click()
        page.wait_for_selector("text=Look into the whole text", timeout=60_000)
    elif act == "point":
        page.mouse.move(370, 560)
        page.wait_for_selector("[data-map-weight]")
    if act != "point":
        settle(page)
    DOCS.mkdir(exist_ok=True)
    path = DOCS / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    Image.open(path).convert("RGB").save(path, optimize=True)
