"""The grid of heads: a thumbnail, metrics and a label for each."""

import numpy as np
import torch
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline.heads import HeadReport
from eyeline.maps import AttentionMap
from eyeline.view.answers.parameters import Asked
from eyeline.view.packets import pack, shades8
from eyeline.view.viewed import live_pixels

__all__ = ["METRICS", "SIDE", "heads"]

SIDE = 32
"""Pixels along each side of a thumbnail."""

METRICS = ("entropy", "share", "first", "distance", "self", "previous", "largest")
"""Of each head: mean entropy in nats, as a share of its maximum, mean weight on the first token,
mean distance in tokens, mean weight on itself and on the token before, the label's score."""

_EXACT_PICTURE = 8192


def heads(asked: Asked) -> bytes:
    """Thumbnails and the census of some layers."""
    viewed, kind = asked.viewed, asked.kind
    have = list(viewed.reading.maps(kind))
    first, last = asked.number("from", have[0]), asked.number("to", have[-1])
    layers = [n for n in have if first <= n <= last]
    if not layers:
        raise EyelineError(f"there is no {kind} layer from {first} to {last}")
    pictures, metrics, described = [], [], []
    for number, layer in enumerate(layers):
        if asked.tick is not None:
            asked.tick(number, len(layers))
        one = viewed.layer(kind, layer)
        pictures.append(thumbnails(one))
        if kind == "cross":  # the census is of self-attention
            metrics.append(_cross_metrics(one))
            continue
        reports = viewed.reports(kind, layer)
        metrics.append(torch.tensor([_metrics(r) for r in reports], dtype=torch.float32))
        described += [[r.label, r.evidence, r.sampled or 0] for r in reports]
    return pack(
        {"layers": layers, "metrics": METRICS, "labels": described, "kind": kind},
        {"pictures": np.stack(pictures), "values": torch.stack(metrics)},
    )


def thumbnails(layer: AttentionMap) -> np.ndarray:
    """The largest weight under each pixel, every head of a layer; sampled rows of very long texts.

    Returns:
        Shades `[heads, rows, cols]`, at most 32 × 32.
    """
    q_len, kv_len = layer.shape[2:]
    rows, cols = min(q_len, SIDE), min(kv_len, SIDE)
    live = live_pixels(layer, rows, cols)
    if q_len <= _EXACT_PICTURE:
        pooled = layer.pooled(rows, cols, "max")[0]
    else:
        pooled = _sampled(layer, rows, cols)
    return shades8(pooled, live)


def _sampled(layer: AttentionMap, rows: int, cols: int, each: int = 8) -> Tensor:
    """Eight neighbouring queries stand for each row of pixels."""
    q_len, kv_len = layer.shape[2:]
    cell = torch.arange(kv_len) * cols // kv_len
    picture = torch.zeros(layer.shape[1], rows, cols)
    for r in range(rows):
        first = (2 * r + 1) * q_len // (2 * rows) - each // 2
        whole = layer.problem.whole()._replace(rows=slice(first, first + each))
        for tile, weights in layer.stream(whole):
            strongest = weights[0].float().amax(1).cpu()
            index = cell.expand(strongest.shape)
            pixels = torch.zeros(strongest.shape[0], cols)
            pixels = pixels.scatter_reduce(1, index, strongest, "amax")
            picture[tile.heads, r] = torch.maximum(picture[tile.heads, r], pixels)
    return picture


def _metrics(report: HeadReport) -> list[float]:
    score = {k: float("nan") if v is None else v for k, v in report.scores.items()}
    top = score.get(report.label, float("nan"))
    return [
        *(report.entropy, score["uniform"], score["first"], report.distance),
        *(score["self"], score["previous"], top),
    ]


def _cross_metrics(one: AttentionMap) -> Tensor:
    entropy = one.entropy()[0].float().mean(-1).cpu()
    empty = torch.full_like(entropy, torch.nan)
    first = one[0, :, :, 0].float().mean(-1).cpu()
    share = entropy / max(torch.tensor(float(one.shape[3])).log().item(), 1e-9)
    return torch.stack([entropy, share, first, empty, empty, empty, empty], -1)
