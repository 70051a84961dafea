"""Each view shows the model's numbers, by mouse and by keyboard, and a reload restores it."""

import re

import pytest

from _chromium import until

LENSES = ["look", "steps", "heads", "map", "compare", "whatif", "generate"]


def number(text):
    text = text.replace("−", "-").replace("%", "").strip()
    return float(text.removeprefix("<")) if not text.startswith("<") else None


def digits(text):
    """Half a unit of the last printed digit."""
    mantissa, _, exponent = text.replace("−", "-").strip().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (int(exponent or 0) - decimals) + 1e-5 * 10.0 ** min(int(exponent or 0), 0)


def reading_of(page):
    name = page.page.get_attribute("[data-ready]", "data-ready")
    return page.server.shelf.reading(name).reading


@pytest.mark.parametrize("lens", LENSES)
def test_every_lens_opens(visit, lens):
    page = visit(f"lens={lens}").page
    assert (
        page.locator("nav button[aria-current=page]").inner_text().lower().replace(" ", "") == lens
    )
    assert page.locator("#stage").inner_text()
    assert page.locator("[role=alert]").count() == 0


def test_one_click_answers(visit):
    page = visit().page
    token = page.locator("[data-i]").nth(4)
    token.click()
    assert token.get_attribute("aria-pressed") == "true"
    twin = page.locator(".twin[data-twin]")
    word = token.inner_text()
    until(lambda: page.locator(".twin").first.get_attribute("data-twin").startswith(word))
    assert "looks at" in twin.inner_text()


def test_what_it_looks_at(visit, real_model):
    page = visit("layer=3&head=1&token=10").page
    said = page.locator(".twin").inner_text()
    assert said.startswith("it looks at animal 66") and "5 tokens cover" in said


@pytest.mark.parametrize(
    "state",
    [
        "layer=1&head=2",
        "layer=1&head=2&direction=by",
        "scope=all",
        "scope=layer&layer=1",
        "layer=1&head=0&hide=1",
    ],
)
def test_every_number_of_look_is_the_models(visit, state):
    visited = visit(f"token=3&{state}")
    page, reading = visited.page, reading_of(visited)
    given = dict(part.split("=") for part in state.split("&"))
    where = (
        {"layer": int(given["layer"])} if "layer" in given and given.get("scope") != "all" else {}
    )
    if given.get("scope") is None:
        where["head"] = int(given["head"])
    direction = given.get("direction", "at")
    look = reading.look(3, direction=direction, hide_sink="hide" in given, **where)
    cells = page.locator("aside [data-weight]")
    assert cells.count() >= 4
    for i in range(cells.count()):
        shown = cells.nth(i).inner_text()
        key = int(cells.nth(i).get_attribute("data-weight"))
        assert abs(number(shown) - float(look.mean[key])) <= digits(shown)
    for element in page.locator("[data-i][data-n]").all():
        shown, key = element.get_attribute("data-n"), int(element.get_attribute("data-i"))
        if not shown.startswith("<"):
            assert abs(number(shown) - 100 * float(look.mean[key])) <= digits(shown) + 1e-3


def test_every_number_of_steps_is_the_models(visit):
    visited = visit("lens=steps&layer=1&head=2&token=3")
    page, reading = visited.page, reading_of(visited)
    page.wait_for_selector("[data-number=weights]")
    steps = reading.steps(1, 2, 3)
    checked = 0
    for element in page.locator("[data-number]").all():
        stage, key = element.get_attribute("data-number"), int(element.get_attribute("data-key"))
        shown, true = element.inner_text(), float(steps[stage].values[key])
        if "∞" in shown:
            assert abs(true) == float("inf")
            continue
        assert abs(number(shown) - true) <= digits(shown)
        checked += 1
    assert checked >= 20
    assert f"{steps.verify().max_delta:.1e}".replace("e-0", "e-").replace("-", "−") in page.locator(
        ".ok"
    ).inner_text().replace("-", "−")


def test_hovering_a_number_lights_up_its_inputs(visit):
    page = visit("lens=steps&layer=1&head=2&token=3").page
    page.locator("[data-number=scaled]").nth(2).hover()
    lit = page.locator("[data-number].lit")
    assert sorted(e.get_attribute("data-number") for e in lit.all()) == ["scaled", "scores"]
    assert len({e.get_attribute("data-key") for e in lit.all()}) == 1
    page.locator("[data-number=weights]").nth(1).hover()
    assert (
        page.locator("[data-number=mask].lit").count() == page.locator("[data-number=mask]").count()
    )


def test_a_click_gives_formula_and_python(visit):
    visited = visit(
        "lens=steps&layer=1&head=2&token=3", permissions=["clipboard-read", "clipboard-write"]
    )
    page = visited.page
    page.locator("[data-number=scores]").nth(1).click()
    formula = page.locator(".made p")
    until(lambda: page.evaluate("document.querySelector('.made p').textContent.includes('q · k')"))
    assert "×" in formula.inner_text()
    page.get_by_role("button", name="Copy as Python").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("import eyeline") and "q @ k" in copied
    reading = reading_of(visited)
    lines = copied.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("q, k"))
    printed = []
    exec(
        "\n".join(lines[start:]),
        {"steps": reading.steps(1, 2, 3), "print": printed.append},
    )
    shown = page.locator("[data-number=scores]").nth(1).inner_text()
    assert abs(printed[0] - number(shown)) <= digits(shown)


def test_keyboard_alone(visit):
    """Everything that the mouse can do in Look, without it."""
    visited = visit("token=3&layer=0&head=0")
    page = visited.page
    keyboard = page.keyboard
    keyboard.press("ArrowRight")
    assert "token=4" in page.evaluate("location.hash")
    keyboard.press("ArrowDown")
    keyboard.press("]")
    assert re.search(r"layer=1&head=1", page.evaluate("location.hash"))
    keyboard.press("d")
    assert "direction=by" in page.evaluate("location.hash")
    keyboard.press("a")
    assert "scope=layer" in page.evaluate("location.hash")
    keyboard.press("s")
    assert "hide=1" in page.evaluate("location.hash")
    for n, lens in enumerate(LENSES, start=1):
        keyboard.press(str(n))
        hash_ = page.evaluate("location.hash")
        assert f"lens={lens}" in hash_ or (lens == "look" and "lens=" not in hash_)
    keyboard.press("1")
    keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "text"
    keyboard.press("Control+A")
    keyboard.type("the dog sat")
    keyboard.press("Enter")
    until(lambda: page.evaluate("location.hash.includes('dog')"))
    visited.ready()
    assert "dog" in page.locator(".words").first.inner_text()


def test_a_key_counts_in_the_moment_the_sheet_is_shut(visit):
    """The dialog's close event comes a task after it has closed; keys need not wait for it."""
    page = visit("token=3").page
    page.keyboard.press("?")
    focused = page.evaluate(
        "(() => { const press = () => document.body.dispatchEvent("
        "new KeyboardEvent('keydown', { key: '/', bubbles: true }));"
        " press(); const open = document.activeElement.id;"
        " document.querySelector('dialog').close(); press();"
        " return [open, document.activeElement.id] })()"
    )
    assert focused == ["", "text"]


def test_tab_reaches_everything_and_focus_is_seen(visit):
    page = visit("token=3").page
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return (e.dataset.i !== undefined ? 'token'"
                " : e.dataset.head !== undefined ? 'head'"
                " : e.textContent.trim().slice(0, 20) || e.id || e.type) })()"
            )
        )
    assert {"token", "head", "Steps", "is looked at by", "Export"} <= reached


def test_arrows_walk_the_grid_and_the_map(visit):
    page = visit("layer=0&head=0").page
    page.locator("[data-layer='0'][data-head='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "layer=1&head=1" in page.evaluate("location.hash")
    page.keyboard.press("4")
    canvas = page.locator("canvas[role=img]")

    def walked():
        canvas.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        return page.locator("[data-map-weight]").count()

    until(walked)  # a busy machine may draw the map after the first key


def test_the_map_prints_the_weight_under_the_cursor(visit):
    visited = visit("lens=map&layer=1&head=2")
    page, reading = visited.page, reading_of(visited)
    canvas, legend = page.locator("canvas[role=img]"), page.locator(".legend")
    assert "entropy of each row" in legend.inner_text()
    canvas.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.wait_for_selector("[data-map-weight]")
    row, column = page.locator(".top b").all_inner_texts()[:2]
    assert f"what {row} looks at; left: who looks at {column}" in legend.inner_text()
    at = [int(t.replace(",", "")) for t in page.locator(".top .num.quiet").all_inner_texts()]
    shown = page.locator("[data-map-weight]").inner_text()
    true = float(reading.maps()[1][0, 2, at[0], at[1]])
    assert abs(number(shown) - true) <= digits(shown)


def test_esc_goes_back_to_what_is_pinned(visit):
    page = visit("token=3&layer=1&head=1").page
    pinned = page.locator(".twin").inner_text()
    page.locator("[data-i='6']").hover()
    until(lambda: page.locator(".twin").first.inner_text() != pinned)
    page.keyboard.press("Escape")
    until(lambda: page.locator(".twin").first.inner_text() == pinned)


@pytest.mark.parametrize(
    "state",
    [
        "layer=1&head=2&token=4&direction=by&cover=60",
        "lens=steps&layer=1&head=1&token=2",
        "lens=heads&metric=entropy&find=L1",
        "lens=map&layer=1&head=2&at=0.05,2.00,3.00",
        "lens=whatif&layer=0&head=1&token=3&cuts=0.1",
        "lens=compare&text2=the+dog+sat&layer=0&head=1&token=2",
    ],
)
def test_a_reload_restores_the_state(visit, state):
    visited = visit(state)
    page = visited.page
    before = page.evaluate("location.hash")
    text = page.locator("#stage").inner_text()
    for part in state.split("&"):
        assert part in before or part.replace(",", "%2C") in before
    page.reload()
    visited.ready()
    page.wait_for_timeout(400)
    assert page.evaluate("location.hash") == before
    assert page.locator("#stage").inner_text() == text


def test_another_text_is_read(visit):
    visited = visit()
    page = visited.page
    page.fill("#text", "the dog sat on the mat")
    page.press("#text", "Enter")
    until(lambda: page.evaluate("document.querySelector('.words').innerText.includes('dog')"))
    assert "dog" in page.evaluate("location.hash")


def test_what_if_changes_the_prediction(visit):
    page = visit("model=gpt2&text=the+cat+sat+on+the+mat&lens=whatif&layer=1&head=2&token=5").page
    page.get_by_role("button", name="silence").click()
    page.wait_for_selector(".said")
    assert "nats" in page.locator(".said").inner_text()
    assert "1.2" in page.evaluate("location.hash")
    page.get_by_role("button", name=re.compile("silent")).click()
    assert page.locator(".said").count() == 0


def test_generate_writes_and_scrubs_back(visit):
    page = visit("model=gpt2&text=the+cat&lens=generate&length=5&temperature=0").page
    page.get_by_role("button", name="Write", exact=True).click()
    until(lambda: page.evaluate("document.querySelector('.scrub')?.innerText.includes('5 of 5')"))
    assert "was written after looking at" in page.locator(".said").inner_text()
    page.get_by_role("button", name="The token before").click()
    assert "4 of 5" in page.locator(".scrub").inner_text()
    page.get_by_role("button", name="Look into the whole text").click()
    until(lambda: page.evaluate("document.querySelectorAll('[data-i]').length > 6"))


def test_compare_two_models(visit):
    page = visit("lens=compare&model2=gpt2&token=3&scope=layer").page
    until(lambda: page.evaluate("document.querySelectorAll('#stage section').length >= 3"))
    said = page.locator("#stage").inner_text()
    assert "everybody may look everywhere" in said and "only back: causal" in said
    assert "different models" in said


def test_encoder_decoder_and_cross(visit):
    page = visit("model=t5&text=the+cat+sat&target=the+dog+sat").page
    page.get_by_role("button", name="cross").click()
    until(
        lambda: page.evaluate(
            "document.querySelector('#stage').innerText.includes('The decoder’s text looks')"
        )
    )
    assert page.locator(".words").count() == 2
    page.get_by_role("button", name="Steps").click()
    page.wait_for_selector("[data-number=weights]")


@pytest.mark.parametrize("ending", ["HTML", "CSV", "JSON"])
def test_export(visit, ending, tmp_path):
    page = visit("layer=1&head=2&token=3").page
    page.get_by_role("button", name="Export").click()
    label = {"HTML": "Page"}.get(ending, ending)
    with page.expect_download() as download:
        page.locator(".export li button", has_text=label).first.click()
    path = tmp_path / "file"
    download.value.save_as(path)
    assert path.stat().st_size > 200


def test_the_other_tab_needs_the_link_too(chromium, server):
    context = chromium.new_context()
    page = context.new_page()
    assert page.goto(server.address).status == 401
    context.close()


def test_a_closed_server_is_said_in_words(chromium):
    import _tiny_models as tiny
    from eyeline.server import Opened, Server, Shelf

    shelf = Shelf(Opened("the cat sat", "bert"))
    shelf.models["bert"] = tiny.loaded("bert")
    server = Server(shelf)
    thread = server.start()
    context = chromium.new_context()
    page = context.new_page()
    page.goto(server.link)
    page.wait_for_selector("[data-ready]")
    page.wait_for_load_state("networkidle")
    server.stop()
    thread.join(20)
    assert not thread.is_alive()
    page.fill("#text", "the dog")
    page.press("#text", "Enter")
    page.wait_for_selector("[role=alert]")
    assert "still running" in page.locator("[role=alert]").first.inner_text()
    context.close()
