"""What is shown, as a file: a page, a figure, or the numbers."""

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eyeline._errors import EyelineError
from eyeline._plain import plain
from eyeline.looks import Look
from eyeline.readings import Reading

__all__ = ["FORMATS", "Shown", "export", "write_export"]


class Shown(NamedTuple):
    """What of a reading is exported.

    Attributes:
        token: The token that looks; None where the format shows a whole head.
        layer: The layer; None is all.
        head: The head; None is all.
        kind: "encoder", "decoder" or "cross"; None is the kind that reads the text.
        hide_sink: Leave the first token out and renormalise.
        direction: "at" or "by".
    """

    token: str | int | None = None
    layer: int | None = None
    head: int | None = None
    kind: str | None = None
    hide_sink: bool = False
    direction: Any = "at"


FORMATS = {
    "html": "text/html; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "npz": "application/octet-stream",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
}
"""Ending → media type."""


def write_export(reading: Reading, path: str | Path, shown: Shown = Shown()) -> Path:  # noqa: B008
    """Write a reading to a file; the ending says how. It is whole or not there.

    Raises:
        EyelineError: The ending is unknown, or the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower().removeprefix(".")
    data = export(reading, ending, shown)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise EyelineError(f"{path} cannot be written: {error.strerror}") from None
    return path


def export(reading: Reading, ending: str, shown: Shown = Shown()) -> bytes:  # noqa: B008
    """The content of such a file.

    Raises:
        EyelineError: The ending is unknown; the message lists those that are known.
    """
    if ending not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise EyelineError(f"'.{ending}' is no format of eyeline export: choose from {known}")
    if ending == "html":
        from eyeline.view.page import page_html

        return page_html(reading, shown).encode()
    if ending in ("svg", "png"):
        return _figure(reading, ending, shown)
    return {"json": _json, "csv": _csv, "npz": _npz}[ending](reading, shown)


def _look(reading: Reading, shown: Shown) -> Look:
    if shown.token is None:
        raise EyelineError(
            "which token? give --token: its text (it), the second such (it:2), or #9"
        )
    return reading.look(
        shown.token,
        layer=shown.layer,
        head=shown.head,
        kind=shown.kind,
        hide_sink=shown.hide_sink,
        direction=shown.direction,
    )


def _about(reading: Reading, look: Look) -> dict[str, Any]:
    return {
        "text": reading.text,
        "model": reading.model,
        "source": reading.source,
        "kind": look.kind,
        "direction": look.direction,
        "layers": list(look.layers),
        "heads": list(look.heads),
        "query": {"index": look.query.index, "label": look.query.label},
        "sink_hidden": look.hidden is not None,
        "sentence": look.sentence(),
    }


def _json(reading: Reading, shown: Shown) -> bytes:
    look = _look(reading, shown)
    about = _about(reading, look)
    about["tokens"] = [
        {"index": t.index, "label": t.label, "weight": plain(w)}
        for t, w in zip(look.keys, look.mean.tolist(), strict=True)
    ]
    about["weights"] = plain(look.weights)
    return (json.dumps(about, ensure_ascii=False, indent=1) + "\n").encode()


def _csv(reading: Reading, shown: Shown) -> bytes:
    look = _look(reading, shown)
    about = _about(reading, look)
    out = io.StringIO()
    for name in ("model", "source", "kind", "direction", "layers", "heads", "sink_hidden"):
        out.write(f"# {name}: {json.dumps(about[name], ensure_ascii=False)}\n")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["layer", "head", "query", "query_label", "key", "key_label", "weight"])
    weights = look.weights.tolist()
    for layer, of_layer in zip(look.layers, weights, strict=True):
        for head, row in zip(look.heads, of_layer, strict=True):
            for token, weight in zip(look.keys, row, strict=True):
                ends = [(look.query.index, look.query.label), (token.index, token.label)]
                (q, q_label), (k, k_label) = ends if look.direction == "at" else ends[::-1]
                table.writerow([layer, head, q, _cell(q_label), k, _cell(k_label), repr(weight)])
    return out.getvalue().encode()


def _cell(text: str) -> str:
    """A label that a spreadsheet shows and does not run as a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def _npz(reading: Reading, shown: Shown) -> bytes:
    look = _look(reading, shown)
    about = json.dumps(_about(reading, look), ensure_ascii=False)
    out = io.BytesIO()
    np.savez_compressed(
        out,
        weights=look.weights.numpy(),
        layers=np.array(look.layers),
        heads=np.array(look.heads),
        query=np.array(look.query.index),
        keys=np.array([t.index for t in look.keys]),
        labels=np.array([t.label for t in look.keys]),
        about=np.array(about),
    )
    return out.getvalue()


def _figure(reading: Reading, ending: str, shown: Shown) -> bytes:
    from eyeline.view.figure import plot_reading

    axes: Any = plot_reading(
        reading,
        layer=shown.layer,
        head=shown.head,
        token=shown.token,
        kind=shown.kind,
        hide_sink=shown.hide_sink,
    )
    from matplotlib import pyplot

    out = io.BytesIO()
    try:
        # the same figure is the same file: no date, and ids that do not depend on chance
        with pyplot.rc_context({"svg.hashsalt": "eyeline", "svg.fonttype": "path"}):
            metadata: dict[str, Any] = {"Title": reading.text[:200]}
            if ending == "svg":
                metadata["Date"] = None
            axes.figure.savefig(out, format=ending, dpi=200, metadata=metadata)
    finally:
        pyplot.close(axes.figure)
    return out.getvalue()
