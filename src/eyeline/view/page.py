"""One file that holds a reading: the explorer itself with the answers it needs, and no model.

The answers are those of `eyeline.view.answers`, deflated and in base64, so nothing that a token
says can end the script that it stands in. What does not fit the budget is left out, and the page
says so when it is asked for it.
"""

import base64
import html
import json
import re
import zlib
from collections.abc import Iterator
from importlib import resources
from typing import Any

from eyeline._errors import EyelineError
from eyeline.readings import Reading
from eyeline.view.answers import QUESTIONS, Asked
from eyeline.view.exporting import Shown
from eyeline.view.viewed import Viewed

__all__ = ["budget", "bundle", "page_html"]

_CSP = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "font-src data:; img-src data: blob:; base-uri 'none'; form-action 'none'"
)


def budget(length: int) -> int:
    """Bytes that the page of a text may have: 2 MB up to 1,000 tokens, 10 MB from 8,000."""
    share = min(max(length - 1000, 0) / 7000, 1)
    return int(2_000_000 + share * 8_000_000) - 20_000


def page_html(reading: Reading, shown: Shown = Shown()) -> str:  # noqa: B008
    """The page.

    Args:
        reading: The reading.
        shown: Where it opens; its head is in the file, whatever else is not.
    """
    script, style = bundle()
    viewed = Viewed(reading)
    room = budget(len(reading.tokens) + len(reading.target_tokens)) - len(script) - len(style)
    answers: dict[str, str] = {}
    left_out = 0
    for name, packet in _answers(viewed, shown):
        text = base64.b64encode(zlib.compress(packet, 9)).decode()
        if len(text) + len(name) + 8 > room:
            left_out += 1
            if name.startswith("head "):
                break  # heads come in the order of interest, each as large as the other
            continue
        room -= len(text) + len(name) + 8
        answers[name] = text
    state = _state(reading, shown)
    data = json.dumps({"answers": answers, "state": state, "left_out": left_out})
    title = html.escape(f"{reading.text[:80]} · eyeline", quote=True)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n"
        f'<div id="eyeline"></div>\n<noscript>{_plain_twin(reading, shown)}</noscript>\n'
        f'<script type="application/json" id="eyeline-data">{_inert(data)}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def bundle() -> tuple[str, str]:
    """Script and style of the explorer, fonts inside.

    Raises:
        EyelineError: The package was installed without them.
    """
    static = resources.files("eyeline.server").joinpath("static")
    try:
        script = static.joinpath("app.js").read_text(encoding="utf-8")
        style = static.joinpath("app.css").read_text(encoding="utf-8")
        return script.replace("</script", r"<\/script"), re.sub(
            r"url\(\.?/?(fonts/[\w.-]+\.woff2)\)",
            lambda m: _font(static.joinpath(m[1]).read_bytes()),
            style,
        )
    except OSError as error:
        raise EyelineError(f"the explorer's script is not installed: {error}") from None


def _font(data: bytes) -> str:
    return f"url(data:font/woff2;base64,{base64.b64encode(data).decode()})"


def _inert(text: str) -> str:
    """JSON in which no tag can begin."""
    return text.replace("<", r"\u003c").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")


def _answers(viewed: Viewed, shown: Shown) -> Iterator[tuple[str, bytes]]:
    """Question and answer, the most wanted first."""
    reading = viewed.reading
    kind = shown.kind or reading.default_kind
    yield "summary", _ask(viewed, "summary", {})
    kinds = [kind, *(k for k in reading.kinds if k != kind)]
    for one in kinds:
        for layer in reading.maps(one):
            params = {"kind": one, "from": layer, "to": layer}
            yield f"heads {one} {layer}", _ask(viewed, "heads", params)
    for one, layer, head in _places(reading, kinds, shown):
        params = {"kind": one, "layer": layer, "head": head}
        pages = _pages(len(reading.query_tokens(one)))
        for page in range(pages):
            yield f"head {one} {layer} {head} {page}", _ask(viewed, "head", params | {"page": page})
        yield f"overview {one} {layer} {head}", _ask(viewed, "overview", params)


def _places(reading: Reading, kinds: list[str], shown: Shown) -> Iterator[tuple[str, int, int]]:
    first = (kinds[0], shown.layer, shown.head)
    if shown.layer is not None and shown.head is not None:
        yield kinds[0], shown.layer, shown.head
    for kind in kinds:
        for layer, one in reading.maps(kind).items():
            for head in range(one.shape[1]):
                if (kind, layer, head) != first:
                    yield kind, layer, head


def _pages(length: int) -> int:
    from eyeline.view.answers.rows import PAGE

    return 1 if length * 32 <= 60_000 else -(-length // PAGE)


def _ask(viewed: Viewed, question: str, params: dict[str, Any]) -> bytes:
    return QUESTIONS[question](Asked(viewed, {k: str(v) for k, v in params.items()}))


def _state(reading: Reading, shown: Shown) -> dict[str, Any]:
    kind = shown.kind or reading.default_kind
    state: dict[str, Any] = {"kind": kind}
    if shown.token is not None:
        from eyeline.tokens import find_token

        state["token"] = find_token(reading.query_tokens(kind), shown.token).index
    if shown.layer is not None and shown.head is not None:
        state |= {"layer": shown.layer, "head": shown.head}
    return state


def _plain_twin(reading: Reading, shown: Shown) -> str:
    """What a reader without scripts is told."""
    lines = [f"{reading.text[:500]} ({reading.model})"]
    if shown.token is not None:
        look = reading.look(shown.token, layer=shown.layer, head=shown.head, kind=shown.kind)
        lines.append(look.sentence())
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)
