"""axe finds nothing; maps have tables; motion and colours follow the reader."""

from pathlib import Path

import pytest

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
LENSES = ["look", "steps", "heads", "map", "compare", "whatif", "generate"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lens", LENSES)
def test_axe(visit, lens, scheme):
    if not AXE.exists():
        pytest.skip("npm ci in web/ brings axe-core")
    page = visit(f"lens={lens}&layer=1&head=2&token=3", scheme=scheme, bypass_csp=True).page
    page.wait_for_timeout(700)
    check(page)


def test_axe_of_the_help_and_the_menu(visit):
    if not AXE.exists():
        pytest.skip("npm ci in web/ brings axe-core")
    page = visit(bypass_csp=True).page
    page.get_by_role("button", name="Export").click()
    check(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keys and help").click()
    check(page)


def check(page):
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    told = [
        f"{v['id']}: {n['html'][:140]} {n.get('failureSummary', '')[:160]}"
        for v in found
        for n in v["nodes"][:3]
    ]
    assert not told, "\n".join(told)


def test_maps_have_tables(visit):
    page = visit("lens=map&layer=1&head=2").page
    page.locator("canvas[role=img]").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("[data-map-weight]")
    page.locator("details.twin summary").click()
    assert page.locator("details.twin tbody tr").count() >= 5
    page.keyboard.press("3")
    page.locator("details.twin summary").click()
    assert page.locator("details.twin tbody tr").count() >= 8


def test_reduced_motion(visit):
    page = visit(reduced_motion="reduce").page
    moving = page.evaluate(
        "[...document.querySelectorAll('.eyeline *')].filter(e => {"
        " const s = getComputedStyle(e);"
        " return parseFloat(s.transitionDuration) > 0 && s.transitionProperty !== 'none' }).length"
    )
    assert moving == 0


def test_few_elements(visit):
    page = visit("model=llama&text=" + "the+" * 25).page
    assert page.evaluate("document.querySelectorAll('*').length") < 5000
