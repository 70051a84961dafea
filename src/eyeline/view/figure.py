"""Figures for papers: a head's map, or one token's row, on matplotlib axes with a caption."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eyeline._errors import EyelineError
from eyeline.impl import _scores
from eyeline.maps import AttentionMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eyeline.readings import Reading

__all__ = ["plot_map", "plot_reading"]

_LABELLED = 64
"""Tokens up to which they are written along the sides."""

_CELLS = 512
"""Cells along each side of a picture; beyond, the largest weight under each is shown."""

_GAZE, _IRIS, _SOFT = "#c2620a", "#4a3fd0", "#6f6a60"


def plot_map(
    weights: AttentionMap,
    *,
    batch: int = 0,
    head: int = 0,
    queries: "list[str] | None" = None,
    keys: "list[str] | None" = None,
    caption: str = "",
    cmap: str = "viridis",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw one head's map: rows look, columns are looked at, what is masked is hatched.

    Args:
        weights: The map.
        batch: Which item of the batch.
        head: Which head.
        queries: Labels of the rows.
        keys: Labels of the columns.
        caption: Written below.
        cmap: A colour map of matplotlib; the default is readable without colour vision.
        ax: Where to draw; by default a new figure.

    Returns:
        The axes.

    Raises:
        EyelineError: matplotlib is not installed.
    """
    pyplot = _pyplot()
    one = weights.select(batch=batch, head=head)
    q_len, kv_len = one.shape[2:]
    side = 2.2 + 0.24 * min(max(q_len, kv_len, 8), 24)
    axes = _axes(ax, pyplot, (side + 0.9, side))
    picture = one.pooled(_CELLS, _CELLS, "max")[0, 0].float().cpu().numpy()
    extent = (-0.5, kv_len - 0.5, q_len - 0.5, -0.5)
    image = axes.imshow(
        picture, cmap=cmap, vmin=0, extent=extent, interpolation="nearest", aspect="equal"
    )
    _hatch(axes, one, picture.shape, extent)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("weight" if max(q_len, kv_len) <= _CELLS else "largest weight under a cell")
    _label(axes, queries, keys)
    axes.set_ylabel("looks")
    axes.set_xlabel("\n".join(filter(None, ["is looked at", _text(caption)])))
    return axes


def plot_reading(
    reading: "Reading",
    *,
    layer: int | None = None,
    head: int | None = None,
    token: str | int | None = None,
    kind: str | None = None,
    hide_sink: bool = False,
    ax: "Axes | None" = None,
    cmap: str = "viridis",
) -> "Axes":
    """Draw a head's map (without `token`), or what one token looks at (with it).

    Args:
        reading: The reading.
        layer: The layer; with `token`, None is the mean over all.
        head: The head; with `token`, None is the mean over all.
        token: The token that looks.
        kind: "encoder", "decoder" or "cross".
        hide_sink: Leave the first token out and renormalise; the caption says so.
        ax: Where to draw; by default a new figure.
        cmap: A colour map of matplotlib, for maps.

    Raises:
        EyelineError: matplotlib is not installed, or layer, head or token do not exist.
    """
    kind = kind or reading.default_kind
    if token is not None:
        return _plot_look(reading, layer, head, token, kind, hide_sink, ax)
    if layer is None or head is None:
        raise EyelineError("a map is of one head: give layer= and head=, or a token=")
    maps = reading.maps(kind)
    from eyeline.looks import check_head, check_layer

    one = maps[check_layer(maps, layer, kind)]
    return plot_map(
        one,
        head=check_head(one.shape[1], head),
        queries=[t.label for t in reading.query_tokens(kind)],
        keys=[t.label for t in reading.key_tokens(kind)],
        caption=caption_of(reading, kind, layer, head),
        cmap=cmap,
        ax=ax,
    )


def caption_of(
    reading: "Reading", kind: str, layer: int | None, head: int | None, more: str = ""
) -> str:
    """Model, where it came from, and what is shown."""
    where = "all layers" if layer is None else f"layer {layer}"
    which = "mean of all heads" if head is None else f"head {head}"
    parts = [f"{reading.model} ({reading.source})", f"{kind}, {where}, {which}", more]
    return "; ".join(filter(None, parts))


def _plot_look(
    reading: "Reading",
    layer: int | None,
    head: int | None,
    token: str | int,
    kind: str,
    hide_sink: bool,
    ax: "Axes | None",
) -> "Axes":
    pyplot = _pyplot()
    look = reading.look(token, layer=layer, head=head, kind=kind, hide_sink=hide_sink)
    mean = look.mean.float()
    order = torch.sort(mean, descending=True, stable=True).indices
    shown = sorted(order[:_LABELLED].tolist())
    axes = _axes(ax, pyplot, (2.0 + 0.42 * max(len(shown), 8), 3.1))
    places = np.arange(len(shown))
    colours = [_GAZE if kind != "cross" and i == look.query.index else _IRIS for i in shown]
    axes.bar(places, mean[shown].numpy(), color=colours, width=0.72)
    axes.set_xticks(places, [_text(look.keys[i].label) for i in shown], rotation=55, ha="right")
    axes.set_ylabel("weight")
    axes.set_ylim(0, None)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_text(look.sentence()), fontsize="medium", loc="left")
    more = "" if look.hidden is None else f"first token hidden, it held {100 * look.hidden:.0f} %"
    axes.set_xlabel(
        _text(caption_of(reading, kind, layer, head, more)), color=_SOFT, fontsize="small"
    )
    return axes


def _axes(ax: "Axes | None", pyplot: Any, size: tuple[float, float]) -> "Axes":
    return pyplot.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _hatch(ax: "Axes", one: AttentionMap, shape: tuple[int, ...], extent: Any) -> None:
    """Hatch what the mask forbids; a cell of a pooled picture only where all under it is."""
    if one.mask is None:
        return
    problem, live = one.problem, torch.zeros(shape, dtype=torch.bool)
    rows = torch.arange(one.shape[2]) * shape[0] // max(one.shape[2], 1)
    cols = torch.arange(one.shape[3]) * shape[1] // max(one.shape[3], 1)
    for tile, _ in one.stream():
        mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
        cells = _scores.live_cells(problem, tile, mask)[0, 0]
        cells = cells.expand(tile.shape[2:]).cpu()
        index = (rows[tile.rows][:, None].expand_as(cells), cols[tile.cols].expand_as(cells))
        live.index_put_(index, cells | live[index], accumulate=False)
        live[index[0][cells], index[1][cells]] = True
    masked = np.ma.masked_where(live.numpy(), np.zeros(shape))
    x = np.linspace(extent[0], extent[1], shape[1] + 1)
    y = np.linspace(extent[3], extent[2], shape[0] + 1)
    ax.pcolor(x, y, masked, hatch="////", cmap="Greys", vmin=0, vmax=1, edgecolor="#b9b3a6", lw=0)


def _label(ax: "Axes", queries: list[str] | None, keys: list[str] | None) -> None:
    if queries is not None and len(queries) <= _LABELLED:
        ax.set_yticks(range(len(queries)), [_text(q) for q in queries])
    if keys is not None and len(keys) <= _LABELLED:
        ax.set_xticks(range(len(keys)), [_text(k) for k in keys], rotation=60, ha="right")


def _text(text: str) -> str:
    """Text as matplotlib shall write it: no formulas between dollar signs."""
    return text.replace("$", r"\$")


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise EyelineError("figures need matplotlib: pip install 'eyeline[plot]'") from None
    return pyplot
