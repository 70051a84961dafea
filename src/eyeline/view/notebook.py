"""The explorer in a notebook: live through anywidget, a picture where only HTML is shown."""

import html
import threading
from typing import TYPE_CHECKING, Any

from eyeline._errors import EyelineError
from eyeline.view.answers import QUESTIONS, Asked
from eyeline.view.viewed import Viewed

if TYPE_CHECKING:
    from eyeline.readings import Reading

__all__ = ["in_notebook", "static_html", "widget"]


def in_notebook() -> bool:
    """Whether a notebook shows what is displayed: Jupyter, VS Code, Colab, marimo."""
    try:
        from IPython import get_ipython  # type: ignore[attr-defined]
    except ImportError:
        get_ipython = None
    shell = None if get_ipython is None else get_ipython()
    if shell is not None and type(shell).__name__ in ("ZMQInteractiveShell", "Shell"):
        return True
    try:
        from marimo import running_in_notebook  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return bool(running_in_notebook())


def widget(reading: "Reading", **place: Any) -> Any:
    """The explorer of a reading as a widget.

    Args:
        reading: The reading.
        place: Where it opens: `token`, `layer`, `head`, `kind`, `lens`, as the page's address.

    Raises:
        EyelineError: anywidget is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise EyelineError("notebooks need anywidget: pip install 'eyeline[notebook]'") from None
    from eyeline.view.page import bundle

    script, style = bundle()
    viewed = Viewed(reading)

    class Explorer(anywidget.AnyWidget):
        """A reading in a notebook; its answers are the server's, through the notebook's channel."""

        _esm = script + "\nexport default { render: globalThis.eyelineWidget };\n"
        _css = style
        state = traitlets.Dict(place).tag(sync=True)

        def __init__(self) -> None:
            super().__init__()
            self.on_msg(self._asked)

        def _asked(self, _widget: Any, content: Any, _buffers: Any) -> None:
            def work() -> None:
                number = content.get("number") if isinstance(content, dict) else None
                try:
                    packet = answer(viewed, content)
                    self.send({"number": number}, buffers=[packet])
                except Exception as error:  # the page shows what is wrong with a question
                    self.send({"number": number, "error": str(error)})

            threading.Thread(target=work, daemon=True).start()

        def _repr_html_(self) -> str:
            return static_html(reading, **place)

    return Explorer()


def answer(viewed: Viewed, content: Any) -> bytes:
    """The packet for one message of the page.

    Raises:
        EyelineError: The message is no question.
    """
    question = content.get("question") if isinstance(content, dict) else None
    if question not in QUESTIONS:
        raise EyelineError(f"{question!r} is no question")
    params = {str(k): str(v) for k, v in dict(content.get("params") or {}).items()}
    return QUESTIONS[question](Asked(viewed, params))


def static_html(reading: "Reading", **place: Any) -> str:
    """The text shaded by what one token looks at: for GitHub, nbviewer and mail.

    No script and no style sheet: such places strip both.
    """
    kind = place.get("kind") or reading.default_kind
    token = place.get("token", len(reading.query_tokens(kind)) - 1)
    look = reading.look(token, layer=place.get("layer"), head=place.get("head"), kind=kind)
    mean = look.mean.nan_to_num(0)
    most = max(float(mean.max()), 1e-9)
    words = []
    for key, weight in zip(look.keys[:400], mean.tolist(), strict=False):
        share = 0.75 * weight / most
        own = kind != "cross" and key.index == look.query.index
        style = f"background:rgba(74,63,208,{share:.2f});border-radius:4px;padding:1px 3px"
        if own:
            style = "border:2px solid #c2620a;border-radius:4px;padding:0 2px"
        words.append(
            f'<span style="{style}" title="{100 * weight:.1f} %">{html.escape(key.label)}</span>'
        )
    more = " …" if len(look.keys) > 400 else ""
    return (
        '<div style="font-family:Georgia,serif;font-size:17px;line-height:2">'
        f"<div>{' '.join(words)}{more}</div>"
        f'<div style="font-size:15px">{html.escape(look.sentence())}</div>'
        f'<div style="font-size:12px;opacity:.7">{html.escape(reading.model)}</div></div>'
    )
