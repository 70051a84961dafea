"""Every step of one query in one head, and how any one number of them was made."""

import json
from typing import Any

import torch
from torch import Tensor

from eyeline._errors import EyelineError
from eyeline._plain import plain
from eyeline._stages.explaining import inputs_of, slice_start
from eyeline.steps import Stage, Steps
from eyeline.view.answers.parameters import Asked
from eyeline.view.packets import pack

__all__ = ["cell", "python_for", "steps"]

_KEYS = 24
"""Keys whose vectors travel: a head of 32,768 keys would be 8 MB."""


def steps(asked: Asked) -> bytes:
    """The stages with their numbers: vectors whole, of keys those that weigh most."""
    made = _steps(asked)
    chosen = _chosen(made)
    arrays: dict[str, Tensor] = {"keys": torch.tensor(chosen, dtype=torch.int32)}
    described = []
    for number, stage in enumerate(made.stages):
        values = stage.values[chosen] if stage.per.startswith("key") else stage.values
        arrays[f"s{number}"] = values.float()
        described.append(_describe(made, stage))
    check = made.verify()
    weights = made["weights"].values
    head = {
        "layer": made.layer,
        "head": made.head,
        "query": made.query.index,
        "stages": described,
        "notes": list(made.notes),
        "max_delta": plain(check.max_delta),
        "max_relative": plain(check.max_relative),
        "ok": check.ok,
        "beyond": list(check.beyond_rounding),
        "slice": slice_start(made.stages),
        "others": len(made.keys) - len(chosen),
        "rest": plain(float(weights.sum() - weights[chosen].sum())),
        "half": _half(made),
    }
    return pack(head, arrays)


def cell(asked: Asked) -> bytes:
    """How one number was made: the formula with the numbers put in, and Python that repeats it."""
    made = _steps(asked)
    name = asked.given.get("stage", "")
    try:
        found = made.explain(name, asked.optional("key"), asked.optional("feature"))
    except (KeyError, IndexError) as error:
        raise EyelineError(f"there is no such number: {error}") from None
    return pack(
        {
            "stage": name,
            "key": found.key,
            "feature": found.feature,
            "value": plain(found.value),
            "formula": found.formula,
            "python": python_for(asked, made, found.python),
        }
    )


def python_for(asked: Asked, made: Steps, lines: str) -> str:
    """The whole program: the reading, its steps, and the lines that make the number."""
    reading = asked.viewed.reading
    target = ""
    if reading.target_tokens:
        target = ", target=…"
        if reading.target is not None:
            target = f", target={_quoted(reading.target)}"
    kind = "" if made.kind == reading.default_kind else f', kind="{made.kind}"'
    text = _quoted(reading.text)
    if len(reading.text) > 2000:
        text = "open(FILE).read()"
    return (
        "import eyeline\n\n"
        f"reading = eyeline.read({text}, model={_quoted(reading.model)}{target})\n"
        f"steps = reading.steps(layer={made.layer}, head={made.head}, "
        f"query={made.query.index}{kind})\n"
        f"{lines}\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _steps(asked: Asked) -> Steps:
    kind = asked.kind
    query = asked.token("token", len(asked.viewed.reading.query_tokens(kind)))
    layer, head = asked.number("layer"), asked.number("head")
    return asked.viewed.steps(kind, layer, head, query, asked.tick)


def _chosen(made: Steps) -> list[int]:
    weights = made["weights"].values.nan_to_num(0)
    if len(weights) <= _KEYS:
        return list(range(len(weights)))
    best = torch.sort(weights, descending=True, stable=True).indices[: _KEYS - 2].tolist()
    own = [made.query.index] if made.kind != "cross" else []
    return sorted({0, *own, *best})


def _describe(made: Steps, stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "title": stage.title,
        "formula": stage.formula,
        "example": stage.example,
        "per": stage.per,
        "inputs": [[i.stage, i.which] for i in inputs_of(made.stages, stage)],
        "delta": plain(stage.delta),
    }


def _half(made: Steps) -> int:
    """How far the two numbers that a rotation turns stand apart; 0 without rotary positions."""
    if made.arithmetic.rotation is None:
        return 0
    cos, _, interleaved = made.arithmetic.rotation
    return 1 if interleaved else cos.shape[1] // 2
