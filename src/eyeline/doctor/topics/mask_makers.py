"""Functions that make masks, in every form: bool of both polarities, 0/1, 0/-inf."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._attempt import ANOTHER_FORM, Unusable
from eyeline.doctor._cases import Case
from eyeline.doctor._convention import Axes, Hypothesis
from eyeline.doctor._layouts import MASK_FORMS
from eyeline.doctor._signature import Signature
from eyeline.doctor.options import Options
from eyeline.doctor.topics.modules import Twins
from eyeline.doctor.topics.plain import Plain, Way, with_ones

__all__ = ["CAUSAL_TOPIC", "PADDING_TOPIC"]

STATES = {"mask", "causal", "arrays"}
PAD = 9


def _forms(options: Options) -> list[str]:
    return ["attend", "ignore", "add"] if options.mask is None else [options.mask]


def _read(answer: Tensor, s: Mapping[str, Any], form: str) -> Tensor:
    """What a mask lets through, 1 or 0, without leading axes of length 1."""
    wanted = 2
    while answer.dim() > wanted:
        answer = answer.squeeze(1) if answer.shape[0] > 1 else answer.squeeze(0)
    answer = answer.double()
    adds = bool((answer < -1e3).any())
    if adds != (form == "add") and not (answer.unique().tolist() == [0.0]):
        raise Unusable(ANOTHER_FORM, f"the mask is not of the form: {MASK_FORMS[form]}")
    if form == "add":
        strange = answer[(answer != 0) & (answer > -1e3)]
        if len(strange):
            raise Unusable(
                "neither 0 nor -inf",
                f"a mask that is added holds 0 and -inf; this one holds {float(strange[0]):g}",
            )
        return (answer == 0).double()
    if ((answer != 0) & (answer != 1)).any():
        raise Unusable(
            "neither True nor False",
            f"expected True and False, 1 and 0, or 0 and -inf; got {answer.unique()[:4].tolist()}",
        )
    return 1 - answer if form == "ignore" else answer


def _causal_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    two = {"q_len", "kv_len"} <= set(signature.parameters)
    corners = ["top-left", "bottom-right"] if two else ["top-left"]
    if options.causal in corners:
        corners = [str(options.causal)]
    ways = []
    for form in _forms(options):
        hypotheses = [
            Hypothesis({"aligned": corner} if two else {}, _causal_cases(two, corner))
            for corner in corners
        ]
        ways.append(Way({"mask": MASK_FORMS[form]}, hypotheses, form))
    return ways


def _causal_cases(two: bool, corner: str) -> tuple[Case, ...]:
    sizes = [(5, 5), (1, 1), (3, 7)] if two else [(5, 5), (1, 1), (8, 8)]
    return tuple(
        Case(
            f"{q_len} queries, {kv_len} keys",
            {
                "q_len": q_len,
                "kv_len": kv_len,
                "offset": kv_len - q_len if corner == "bottom-right" else 0,
                "rectangular": 2 if two else 0,
            },
        )
        for q_len, kv_len in sizes
    )


def _causal_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {"length": s["kv_len"], "q_len": s["q_len"], "kv_len": s["kv_len"]}


def _causal_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    return with_ones([("queries", s["q_len"]), ("keys", s["kv_len"])])


CAUSAL_TOPIC = Plain(
    places=("length",),
    ways=_causal_ways,
    offer=_causal_offer,
    axes=_causal_axes,
    names=("queries", "keys"),
    canonical=_read,
    always=frozenset({"q_len", "kv_len"}),
)


def _padding_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    return [
        Way({"mask": MASK_FORMS[form]}, [Hypothesis({}, _padding_cases())], form)
        for form in _forms(options)
    ]


def _padding_cases() -> tuple[Case, ...]:
    cases = []
    for name, lengths in {"a batch": [3, 7, 1, 5], "another batch": [2, 4]}.items():
        kv_len = max(lengths)
        ids = torch.arange(kv_len).expand(len(lengths), -1) % 4 + 1
        ids = ids.masked_fill(torch.arange(kv_len) >= torch.tensor(lengths)[:, None], PAD)
        inputs = {"lengths": torch.tensor(lengths), "kv_len": kv_len, "ids": ids}
        cases.append(Case(name, inputs))
    return tuple(cases)


def _padding_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {
        "lengths": s["lengths"],
        "length": s["kv_len"],
        "kv_len": s["kv_len"],
        "ids": s["ids"],
        "x": s["ids"],
        "pad_id": PAD,
    }


def _padding_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    batch, keys = ("batch", len(s["lengths"])), ("keys", s["kv_len"])
    return [[batch, keys], [batch, ("one", 1), ("one", 1), keys], [batch, ("one", 1), keys]]


PADDING_TOPIC = Plain(
    places=("lengths", "length"),
    ways=_padding_ways,
    offer=_padding_offer,
    axes=_padding_axes,
    names=("batch", "keys"),
    canonical=_read,
    always=frozenset({"pad_id", "length", "kv_len"}),
)
