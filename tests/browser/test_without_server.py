"""The explorer in a file and in a notebook: the same page on other answers."""

import base64

import pytest

import _tiny_models as tiny
from _chromium import until
from eyeline.readings import read
from eyeline.view.exporting import Shown, write_export
from eyeline.view.notebook import answer
from eyeline.view.page import bundle
from eyeline.view.viewed import Viewed

TEXT = "the cat sat on the mat </script> and it was tired"


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, offline=True)
    made, errors = context.new_page(), []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    yield made
    context.close()
    assert errors == []


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_an_exported_page_shows_the_readings_numbers(page, tmp_path, family):
    target = {"target": "the dog"} if family in tiny.PAIRS else {}
    reading = read(TEXT, tiny.loaded(family), **target)
    path = write_export(reading, tmp_path / "a.html", Shown(3, 1, 2))
    page.goto(path.as_uri())
    page.wait_for_selector("aside [data-weight]")
    look = reading.look(3, layer=1, head=2)
    for cell in page.locator("aside [data-weight]").all():
        shown = float(cell.inner_text())
        key = int(cell.get_attribute("data-weight"))
        assert abs(shown - float(look.mean[key])) <= 0.00052
    page.locator("[data-i='5']").first.click()
    sentence = reading.look(5, layer=1, head=2).sentence().split(";")[0]
    until(lambda: page.locator(".twin").get_attribute("data-twin").split(";")[0] == sentence)
    for key in "347":
        page.keyboard.press(key)
        page.wait_for_timeout(150)
    page.keyboard.press("2")
    until(lambda: "holds answers and no model" in page.locator("#stage").inner_text())


def test_a_page_opens_where_it_was_exported(page, tmp_path):
    reading = read(TEXT, tiny.loaded("gpt2"))
    page.goto(write_export(reading, tmp_path / "a.html", Shown(6, 0, 1)).as_uri())
    page.wait_for_selector("[data-i='6'][aria-pressed=true]")
    assert "Layer 0, head 1" in page.locator("aside").inner_text()


def test_a_widget_asks_its_kernel(page):
    """anywidget's model, played by this test: messages out, packets back."""
    reading = read(TEXT, tiny.loaded("gpt2"))
    viewed = Viewed(reading)
    script, style = bundle()
    page.expose_function("kernel", lambda m: base64.b64encode(answer(viewed, m)).decode())
    page.set_content(f"<style>{style}</style><div id=output></div>")
    page.add_script_tag(content=script, type="module")
    page.wait_for_function("'eyelineWidget' in window")  # a module runs when it is its turn
    page.evaluate(
        """() => {
          let told;
          const model = {
            get: () => ({token: 4, layer: 1, head: 2}),
            on: (_, listener) => (told = listener),
            send: async (m) => {
              const bytes = Uint8Array.from(atob(await kernel(m)), (c) => c.charCodeAt(0));
              told({number: m.number}, [new DataView(bytes.buffer)]);
            },
          };
          window.clean = eyelineWidget({model, el: document.getElementById('output')});
        }"""
    )
    page.wait_for_selector("aside [data-weight]")
    look = reading.look(4, layer=1, head=2)
    first = page.locator("aside [data-weight]").first
    assert abs(float(first.inner_text()) - float(look.mean.max())) <= 0.00052
    page.locator(".stage nav button", has_text="Steps").click()
    page.wait_for_selector("[data-number=weights]")
    assert page.evaluate("location.hash") == ""
    page.evaluate("clean()")
    assert page.locator("#output").inner_html() == ""
