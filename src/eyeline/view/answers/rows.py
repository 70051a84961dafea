"""One token's row or column, a head's largest weights: what hovering and clicking show."""

from typing import Any

import numpy as np
import torch

from eyeline._plain import plain
from eyeline.looks import Look
from eyeline.view.answers.parameters import Asked
from eyeline.view.packets import pack, weights16

__all__ = ["PAGE", "head", "look", "row"]

PAGE = 512
"""Queries in one page of a head."""

_NAMED = 64
"""Weights that travel in full precision, for what is printed."""

_HEAD_BYTES = 60_000


def look(asked: Asked) -> bytes:
    """What a token looks at (or who looks at it) in a head, a layer, or everywhere."""
    reading, kind = asked.viewed.reading, asked.kind
    own = reading.query_tokens(kind) if asked.direction == "at" else reading.key_tokens(kind)
    token = asked.token("token", len(own))
    found = reading.look(
        token,
        layer=asked.optional("layer"),
        head=asked.optional("head"),
        kind=kind,
        hide_sink=asked.flag("hide"),
        direction=asked.direction,
    )
    mean = found.mean
    values, indices = _largest(mean)
    where = [
        {"layer": e.layer, "head": e.head, "key": e.key.index, "weight": plain(e.weight)}
        for e in (found.edges(24) if not found.is_one_head else [])
    ]
    total = float(mean.sum())
    head = {
        "token": token,
        "sentence": found.sentence(),
        "hidden": plain(found.hidden),
        "total": plain(total),
        "entropy": plain(float(torch.special.entr(mean.nan_to_num(0)).sum())),
        "strongest": where,
        "begin": [] if found.is_one_head else _begin(found),
    }
    return pack(
        head,
        {"row": weights16(mean), "top": values.float(), "where": indices.to(torch.int32)},
    )


def _begin(look: Look, count: int = 8) -> list[dict[str, Any]]:
    """Where to begin: the strongest weights on other words than neighbours and the sink."""
    own = look.query.index if look.kind != "cross" else -9
    weights = look.weights.clone().nan_to_num(0)
    for key in look.keys:
        if key.special or key.index == 0 or abs(key.index - own) <= 1:
            weights[..., key.index] = 0
    values, places = weights.flatten().topk(min(count, weights.numel()))
    heads, keys = weights.shape[1:]
    return [
        {
            "layer": look.layers[place // (heads * keys)],
            "head": look.heads[place // keys % heads],
            "key": place % keys,
        }
        for place, value in zip(places.tolist(), values.tolist(), strict=True)
        if value > 0
    ]


def row(asked: Asked) -> bytes:
    """One exact row or column of one head."""
    kind = asked.kind
    one = asked.viewed.head(kind, asked.number("layer"), asked.number("head"))
    by = asked.direction == "by"
    index = asked.token("token", one.shape[3 if by else 2])
    weights = one[0, 0, :, index] if by else one[0, 0, index]
    values, indices = _largest(weights.double())
    return pack(
        {"token": index},
        {"row": weights16(weights), "top": values.float(), "where": indices.to(torch.int32)},
    )


def head(asked: Asked) -> bytes:
    """The largest weights of 512 queries of a head, as many a query as 60 kB hold, at most 24."""
    one = asked.viewed.head(asked.kind, asked.number("layer"), asked.number("head"))
    q_len, kv_len = one.shape[2:]
    first = asked.number("page", 0) * PAGE
    stop = q_len if q_len * 8 * 4 <= _HEAD_BYTES else min(first + PAGE, q_len)
    first = first if first < q_len else 0
    k = min(kv_len, 24, max(_HEAD_BYTES // (4 * max(stop - first, 1)), 8))
    if q_len <= 4096:
        found = one.top_k(k)
        values, indices = found.values[0, 0, first:stop], found.indices[0, 0, first:stop]
    else:  # a page of a long text is cheaper than the whole head
        values, indices = one[0, 0, first:stop].topk(k)
    wide = kv_len > 0xFFFF
    keys = indices.clamp(min=0).cpu().numpy()
    keys = keys.astype(np.uint32) if wide else keys.astype(np.uint16)
    values = values.masked_fill(indices < 0, 0)
    return pack({"first": first, "k": k}, {"keys": keys, "weights": weights16(values)})


def _largest(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.sort(weights.nan_to_num(-1), descending=True, stable=True).indices[:_NAMED]
    return weights[order], order
