"""Generate: a token at a time to the browser, then the whole text as a reading."""

from typing import Any

import torch

from eyeline.generating import NewToken, generate
from eyeline.server.refusals import Refusal
from eyeline.server.shelf import Shelf
from eyeline.server.work import Report
from eyeline.view.answers import Asked
from eyeline.view.answers.summary import answer as summarize
from eyeline.view.packets import pack, unpack, weights16

__all__ = ["write"]

_MOST = 200


def write(shelf: Shelf, asked: dict[str, Any], report: Report) -> bytes:
    """Let a model write on; every token is an item of the response.

    Args:
        shelf: Where the models are.
        asked: `text`, `model`, and `length`, `temperature`, `top_p`, `seed`, `layer`, `head`.
        report: Takes the items.

    Returns:
        The summary of the whole text's reading, with its id.
    """
    text, model = asked.get("text"), asked.get("model") or shelf.opened.model
    if asked.get("opened"):
        text = shelf.opened.text
    if not isinstance(text, str) or not isinstance(model, str):
        raise Refusal("text and model are wanted, both as text")
    settings: dict[str, Any] = {
        "max_new_tokens": int(_number(asked, "length", 20, 1, _MOST)),
        "temperature": _number(asked, "temperature", 0.8, 0, 10),
        "top_p": _number(asked, "top_p", 0.95, 1e-6, 1),
        "seed": int(_number(asked, "seed", 1, 0, 2**31)),
    }
    layer, head = (int(_number(asked, name, 0, 0, 10_000)) for name in ("layer", "head"))
    loaded = shelf.model(model, report)
    shelf.admit(loaded, text)
    written = []
    with shelf.lock(model):

        def tick(done: int, total: int) -> None:
            report(f"{model} writes", done, total)

        for new in generate(loaded, text, **settings, tick=tick):
            report.item(_item(new, layer, head))
            written.append(new)
    whole = text + loaded.tokenizer.decode([n.token.id for n in written if not n.is_end])
    name, viewed = shelf.read(whole, model, None, report)
    described, arrays = unpack(summarize(Asked(viewed)))
    return pack({**described, "id": name}, arrays)


def _item(new: NewToken, layer: int, head: int) -> bytes:
    layer = layer if layer in new.layers else new.layers[0]
    head = min(head, new.weights.shape[1] - 1)
    row = new.row(layer, head)
    mean = new.row()
    shares = torch.tensor([p for _, p in new.candidates], dtype=torch.float32)
    return pack(
        {
            "index": new.token.index,
            "label": new.token.label,
            "piece": new.token.piece,
            "special": new.token.special,
            "probability": new.probability,
            "candidates": [text for text, _ in new.candidates],
            "end": new.is_end,
            "layer": layer,
            "head": head,
        },
        {"row": weights16(row), "mean": weights16(mean), "shares": shares},
    )


def _number(asked: dict[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Refusal(f"{name}={value!r}: a number from {least:g} to {most:g} is wanted")
    return float(value)
