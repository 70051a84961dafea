"""What if: heads and edges taken out, and the weight beside what it carries and what it does."""

import re
from collections.abc import Sequence

import torch

from eyeline._errors import EyelineError
from eyeline._plain import plain
from eyeline.interventions import Ablate, Change, Cut, Outcome, intervene, value_norms
from eyeline.view.answers.parameters import Asked
from eyeline.view.packets import pack

__all__ = ["change", "effects", "parse_changes"]

_MOST_CHANGES = 64
_KEYS = 6
_ABLATION = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)
_CUT = re.compile(r"(\d{1,4})\.(\d{1,4}):(\d{1,7})>(\d{1,7})", re.ASCII)


def change(asked: Asked) -> bytes:
    """What the model says before and after; `cuts` is "3.1,4.2:10>2": heads, and edges of heads."""
    viewed, kind = asked.viewed, asked.kind
    changes = parse_changes(asked.given.get("cuts", ""), kind)
    with viewed.model_lock:
        outcome = intervene(viewed.reading, changes, tick=asked.tick)
    return pack(*_told(outcome))


def effects(asked: Asked) -> bytes:
    """Of one query's strongest keys in one head: weight, ‖α v W_O‖, and effect of cutting each.

    And the effect of silencing the head. The effect is KL(before ‖ after) in nats, or 1 − cosine.
    """
    viewed, kind = asked.viewed, asked.kind
    reading = viewed.reading
    layer, head = asked.number("layer"), asked.number("head")
    query = asked.token("token", len(reading.query_tokens(kind)))
    weights = viewed.head(kind, layer, head)[0, 0, query].double()
    keys = torch.sort(weights, descending=True, stable=True).indices[:_KEYS].tolist()
    keys = [k for k in keys if float(weights[k]) > 0]
    cuts: list[Change] = [Cut(layer, head, query, k, kind) for k in keys]
    found = []
    with viewed.model_lock:
        norms = value_norms(reading, layer, head, query, kind)
        for number, one in enumerate([*cuts, Ablate(layer, head, kind)]):
            if asked.tick is not None:
                asked.tick(number, len(keys) + 1)
            found.append(intervene(reading, [one]))
    described = {
        "kind": found[-1].kind,
        "head": plain(found[-1].divergence),
        "total": plain(float(norms.sum())),
    }
    return pack(
        described,
        {
            "keys": torch.tensor(keys, dtype=torch.int32),
            "weights": weights[keys].float(),
            "norms": norms[keys].float(),
            "effects": torch.tensor([o.divergence for o in found[:-1]], dtype=torch.float32),
        },
    )


def parse_changes(text: str, kind: str) -> Sequence[Change]:
    """Heads "layer.head" and edges "layer.head:query>key", joined by commas."""
    changes: list[Change] = []
    for part in filter(None, text.split(",")):
        if found := _ABLATION.fullmatch(part):
            changes.append(Ablate(int(found[1]), int(found[2]), kind))
        elif found := _CUT.fullmatch(part):
            changes.append(Cut(*(int(n) for n in found.groups()), kind))  # type: ignore[arg-type]
        else:
            raise EyelineError(f"cuts={part!r}: wanted are heads 3.1 and edges 3.1:10>2")
    if not changes:
        raise EyelineError("nothing is changed: name heads as 3.1 or edges as 3.1:10>2")
    if len(changes) > _MOST_CHANGES:
        raise EyelineError(f"{len(changes)} changes are more than {_MOST_CHANGES} at a time")
    return changes


def _told(outcome: Outcome) -> tuple[dict, dict]:
    head = {
        "kind": outcome.kind,
        "position": outcome.position,
        "divergence": plain(outcome.divergence),
        "candidates": [text for text, _, _ in outcome.candidates],
    }
    shares = [[before, after] for _, before, after in outcome.candidates]
    arrays = {"shares": torch.tensor(shares, dtype=torch.float32).reshape(-1, 2)}
    if outcome.moved is not None:
        arrays["moved"] = outcome.moved.float()
    return head, arrays
