"""Functions and modules that make positions: sinusoids, rotary, ALiBi."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._cases import Case, normal
from eyeline.doctor._convention import Axes, Hypothesis
from eyeline.doctor._layouts import LAYOUTS, to_layout
from eyeline.doctor._signature import Signature
from eyeline.doctor.catalogue.alibi import canonical
from eyeline.doctor.catalogue.rotary import spread
from eyeline.doctor.options import Options
from eyeline.doctor.topics.modules import Twins, find_number
from eyeline.doctor.topics.plain import Plain, Way, with_ones

__all__ = ["ALIBI_TOPIC", "ROTARY_TOPIC", "SINUSOIDS_TOPIC"]

STATES = {"pairing", "base", "arrays"}
ROTARY_STATES = STATES | {"layout"}


def _pairings(options: Options) -> list[str]:
    return ["interleaved", "halves"] if options.pairing is None else [options.pairing]


def _notes(options: Options, pairing: str) -> dict[str, str]:
    words = {"interleaved": "neighbours", "halves": "half a vector apart"}
    return {} if options.pairing else {"pairs": words[pairing]}


# -- sinusoids -----------------------------------------------------------------------------------


def _sinusoid_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    width = 12
    if twins is not None:
        width = find_number(twins.module, "embed_dim") or _buffer_width(twins) or width
    stated = 2 if options.pairing else 0
    hypotheses = []
    for pairing in _pairings(options):
        base = {"base": options.base or 10000.0, "pairing": pairing, "stated": stated, "batch": 2}
        widths = (width,) if twins is not None else (width, 16)
        cases = [
            Case(f"{length} positions, width {w}", {**base, "length": length, "embed_dim": w})
            for length, w in zip((7, 30), widths * 2, strict=False)
        ]
        hypotheses.append(Hypothesis(_notes(options, pairing), tuple(cases)))
    ways = [Way({}, hypotheses)]
    if "x" in signature.required:
        ways.append(Way({"takes": "positions"}, hypotheses, "positions"))
    return ways


def _buffer_width(twins: Twins) -> int | None:
    return next((b.shape[-1] for b in twins.module.buffers() if b.dim() > 1), None)


def _sinusoid_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    positions = torch.arange(s["length"])
    return {
        "length": s["length"],
        "embed_dim": s["embed_dim"],
        "head_dim": s["embed_dim"],
        "positions": positions,
        "x": positions
        if form == "positions"
        else torch.zeros(s["batch"], s["length"], s["embed_dim"], dtype=torch.float64),
        "ids": positions,
    }


def _sinusoid_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    axes = [("positions", s["length"]), ("width", s["embed_dim"])]
    return [*with_ones(axes), [("batch", s["batch"]), *axes]]


def _first_item(answer: Tensor, s: Mapping[str, Any], form: str) -> Tensor:
    while answer.dim() > 2:
        answer = answer[0]
    return answer


SINUSOIDS_TOPIC = Plain(
    places=("length", "embed_dim"),
    ways=_sinusoid_ways,
    offer=_sinusoid_offer,
    axes=_sinusoid_axes,
    names=("positions", "width"),
    canonical=_first_item,
)


# -- rotary --------------------------------------------------------------------------------------


def _rotary_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    layouts = list(LAYOUTS) if options.layout is None else [options.layout]
    given = {"cos", "sin"} <= set(signature.parameters)
    ways = []
    for layout in layouts:
        # cosines that are given are written for one pairing: each is a call of its own
        groups = [[p] for p in _pairings(options)] if given else [_pairings(options)]
        for group, width in product(groups, ("whole", "half") if given else ("whole",)):
            notes = {"layout": LAYOUTS[layout]}
            if width == "half":
                notes["cos and sin"] = "one for each pair"
            hypotheses = [
                Hypothesis(_notes(options, p), _rotary_cases(signature, options, layout, p))
                for p in group
            ]
            ways.append(Way(notes, hypotheses, f"{layout} {width} {group[0]}"))
    return ways


def _rotary_cases(
    signature: Signature, options: Options, layout: str, pairing: str
) -> tuple[Case, ...]:
    batch, heads = {"BHLD": (2, 3), "BLHD": (2, 3), "BLD": (2, 1), "LD": (1, 1)}[layout]
    given = {"cos", "sin"} <= set(signature.parameters)
    moves = given or bool({"positions", "offset"} & set(signature.parameters))
    cases = []
    for start in (0, 11) if moves else (0,):
        inputs = {
            "x": normal(batch, heads, 5, 8, seed=90 + start),
            "positions": torch.arange(5) + start,
            "length": 5,
            "offset": start,
            "head_dim": 8,
            "num_heads": heads,
            "base": options.base or 10000.0,
            "pairing": pairing,
            "stated": 2 if options.pairing else 0,
            "makes_angles": 0 if given else 2,
            "takes_positions": 2 if moves and not given else 0,
        }
        cases.append(Case(f"positions from {start}", inputs))
    return tuple(cases)


def _rotary_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    layout, width, pairing = form.split()
    frequencies = s["base"] ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    angles = s["positions"].double()[:, None] * frequencies
    cos, sin = angles.cos().to(s["x"].dtype), angles.sin().to(s["x"].dtype)
    if width == "whole":
        cos, sin = spread(cos, pairing), spread(sin, pairing)
    if layout == "BLHD":
        cos, sin = cos[:, None], sin[:, None]
    return {
        "x": to_layout(s["x"], layout),
        "query": to_layout(s["x"], layout),
        "positions": s["positions"],
        "offset": s["offset"],
        "length": s["length"],
        "head_dim": s["head_dim"],
        "embed_dim": s["head_dim"],
        "base": s["base"],
        "cos": cos,
        "sin": sin,
    }


def _rotary_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    sizes = to_layout(s["x"], form.split()[0]).shape
    names = {
        "BHLD": ("batch", "heads", "positions", "width"),
        "BLHD": ("batch", "positions", "heads", "width"),
        "BLD": ("batch", "positions", "width"),
        "LD": ("positions", "width"),
    }
    return [list(zip(names[form.split()[0]], sizes, strict=True))]


def _rotary_canonical(answer: Tensor, s: Mapping[str, Any], form: str) -> Tensor:
    if answer.dim() == 4:
        return answer.transpose(1, 2) if form.startswith("BLHD") else answer
    return answer[:, None] if answer.dim() == 3 else answer[None, None]


ROTARY_TOPIC = Plain(
    places=("x", "positions"),
    ways=_rotary_ways,
    offer=_rotary_offer,
    axes=_rotary_axes,
    names=("batch", "heads", "positions", "width"),
    canonical=_rotary_canonical,
    always=frozenset({"positions", "offset"}),
)


# -- ALiBi ---------------------------------------------------------------------------------------


def _alibi_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    cases = tuple(Case(f"{heads} heads", {"num_heads": heads, "length": 7}) for heads in (8, 4, 6))
    return [Way({}, [Hypothesis({}, cases)])]


def _alibi_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    length = s["length"]
    return {"num_heads": s["num_heads"], "length": length, "q_len": length, "kv_len": length}


def _alibi_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    heads, length = ("heads", s["num_heads"]), s["length"]
    whole = [heads, ("queries", length), ("keys", length)]
    by_key = [heads, ("one", 1), ("keys", length)]
    return [*with_ones(whole, 1), *with_ones(by_key, 1), [heads], [heads, ("one", 1), ("one", 1)]]


def _alibi_canonical(answer: Tensor, s: Mapping[str, Any], form: str) -> Tensor:
    length = s["length"]
    if answer.numel() == s["num_heads"]:  # the slopes alone
        place = torch.arange(length, dtype=answer.dtype)
        answer = -answer.flatten()[:, None, None] * (place[:, None] - place)
    answer = answer.reshape(s["num_heads"], -1, length).expand(-1, length, -1)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    return canonical(answer.masked_fill(future, 0))


ALIBI_TOPIC = Plain(
    places=("num_heads", "length"),
    ways=_alibi_ways,
    offer=_alibi_offer,
    axes=_alibi_axes,
    names=("heads", "queries", "keys"),
    canonical=_alibi_canonical,
    always=frozenset({"length", "q_len", "kv_len"}),
)
