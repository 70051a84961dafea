"""Whatever a token says is shown as text: no script runs, nothing is lost."""

from urllib.parse import quote

import pytest

FUZZ = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "javascript:alert(1) 'onmouseover=alert(1)' \"",
    "{{7*7}} ${7*7} {@html '<b>x</b>'} <%= 7 %>",
    "<!-- --> <![CDATA[ x ]]> &lt;b&gt; &amp; &#x3c;",
    "😀 👩‍👩‍👧‍👦 🏳️‍🌈 🇪🇺 e\u0301 ﷽",
    "مرحبا بالعالم שלום עולם",
    "東京都 は 雨 中文字符 한국어",
    "<0x0A> ▁the Ġcat ##ing </w> [CLS] <s>",
    "NaN Infinity -0 null undefined true",
    "a\u202eb\u202c c\u200bd \u2066e\u2069 \ufeff",
    "line one\nline two\ttab \u2028 \u2029",
    "%3Cscript%3E %00 \\u003c \\x3c \x1b[31m",
    "__proto__ constructor toString",
]


@pytest.mark.parametrize("text", FUZZ)
@pytest.mark.parametrize("model", ["gpt2", "bert"])
def test_tokens_are_text(visit, text, model):
    visited = visit(f"model={model}&text={quote(text)}&lens=look")
    page = visited.page
    viewed = visited.server.shelf.reading(page.get_attribute("[data-ready]", "data-ready"))
    shown = page.locator("[data-i]").all_text_contents()
    assert shown == [t.label for t in viewed.reading.tokens]
    for key in "2347":
        page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
    assert page.locator("#stage script, #stage img, #stage iframe").count() == 0
    page.keyboard.press("1")
    page.reload()
    visited.ready()
    assert page.locator("[data-i]").all_text_contents() == shown


def test_a_hostile_address_is_text_too(visit):
    page = visit(
        "lens=<b>&metric=<img>&find=<script>alert(1)</script>&at=NaN,1e999,x&cuts=<x>&cover=9e9"
    ).page
    page.keyboard.press("3")
    page.keyboard.press("4")
    assert page.locator("#stage img, #stage script").count() == 0
