"""`reading.show()`: the widget in a notebook, the browser elsewhere."""

import importlib
import webbrowser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from eyeline.view.notebook import in_notebook, widget

if TYPE_CHECKING:
    from eyeline.readings import Reading

__all__ = ["show"]


def show(reading: "Reading", *, browser: bool | None = None, **place: Any) -> Any:
    """Show a reading.

    Args:
        reading: The reading.
        browser: True: the browser, even in a notebook. False: start the server, open nothing.
        place: Where it opens: `token`, `layer`, `head`, `kind`, `lens`.

    Returns:
        The widget in a notebook; elsewhere the server that now runs, with `.link` and `.stop()`.
    """
    if isinstance(place.get("token"), str):
        from eyeline.tokens import find_token

        kind = place.get("kind") or reading.default_kind
        place["token"] = find_token(reading.query_tokens(kind), place["token"]).index
    if browser is None and in_notebook():
        return widget(reading, **place)
    # by name: the server stands above the views, and only this call needs it
    server = importlib.import_module("eyeline.server").serve_reading(reading)
    link = server.link + (f"#{urlencode(place)}" if place else "")
    print(f"eyeline is at {link}")
    if browser is not False:
        webbrowser.open(link)
    return server
