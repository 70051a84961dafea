"""Heads cut and joined, tokens pooled, losses: small functions of one tensor and a little more."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._cases import Case, normal
from eyeline.doctor._convention import Axes, Hypothesis
from eyeline.doctor._signature import Signature
from eyeline.doctor.options import Options
from eyeline.doctor.topics.modules import Twins
from eyeline.doctor.topics.plain import Plain, Way

__all__ = ["LOSS_TOPIC", "MERGE_TOPIC", "POOLING_TOPIC", "SPLIT_TOPIC"]

BATCH, HEADS, LENGTH, WIDTH = 2, 3, 5, 4


def _split_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    inputs = {"x": normal(BATCH, LENGTH, HEADS * WIDTH, seed=130), "num_heads": HEADS}
    return [Way({}, [Hypothesis({}, (Case("tokens", inputs),))])]


def _split_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {"x": s["x"], "query": s["x"], "num_heads": HEADS, "head_dim": WIDTH}


def _split_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    return [[("batch", BATCH), ("heads", HEADS), ("length", LENGTH), ("width", WIDTH)]]


SPLIT_TOPIC = Plain(
    places=("x", "num_heads"),
    ways=_split_ways,
    offer=_split_offer,
    axes=_split_axes,
    names=("batch", "heads", "length", "width"),
)


def _merge_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    inputs = {"x": normal(BATCH, HEADS, LENGTH, WIDTH, seed=131)}
    return [Way({}, [Hypothesis({}, (Case("heads", inputs),))])]


def _merge_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {"x": s["x"], "memory": s["x"], "num_heads": HEADS, "head_dim": WIDTH}


def _merge_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    return [[("batch", BATCH), ("length", LENGTH), ("heads × width", HEADS * WIDTH)]]


MERGE_TOPIC = Plain(
    places=("x",),
    ways=_merge_ways,
    offer=_merge_offer,
    axes=_merge_axes,
    names=("batch", "length", "heads × width"),
)


def _pooling_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    lengths = torch.tensor([5, 2, 4])[:, None]
    mask = torch.arange(LENGTH) < lengths
    inputs = {"x": normal(3, LENGTH, WIDTH, seed=132), "mask": mask}
    full = {"x": normal(3, LENGTH, WIDTH, seed=133), "mask": torch.ones_like(mask)}
    cases = (Case("a padded batch", inputs), Case("no padding", full))
    # a padding mask (True = padding) is told by its name
    forms = ["ignore"] if "padding" in signature and "mask" not in signature else ["bool", "ones"]
    return [Way({}, [Hypothesis({}, cases)], form) for form in forms]


def _pooling_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    mask = s["mask"].to(s["x"].dtype) if form == "ones" else s["mask"]
    return {"x": s["x"], "mask": mask, "padding": ~s["mask"]}


def _pooling_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    return [[("batch", s["x"].shape[0]), ("width", WIDTH)]]


POOLING_TOPIC = Plain(
    places=("x", "mask"),
    ways=_pooling_ways,
    offer=_pooling_offer,
    axes=_pooling_axes,
    names=("batch", "width"),
    always=frozenset({"mask", "padding"}),
)


def _loss_ways(signature: Signature, options: Options, twins: Twins | None) -> list[Way]:
    vocabulary, pad = 7, 6
    ids = torch.tensor([[1, 4, 2, 5, 3], [0, 3, 1, pad, pad], [2, 5, 4, 0, pad]])
    logits = normal(3, LENGTH, vocabulary, seed=134, deviation=1.5)
    padded = "pad_id" in signature
    plain = {"x": logits[:1], "ids": ids[:1], "pad_id": pad, "padded": 2 if padded else 0}
    cases = [Case("one text", plain)]
    if padded:
        cases.insert(0, Case("a padded batch", {**plain, "x": logits, "ids": ids}))
    return [Way({}, [Hypothesis({}, tuple(cases))])]


def _loss_offer(s: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {"x": s["x"], "ids": s["ids"], "labels": s["ids"], "pad_id": s["pad_id"]}


def _loss_axes(s: Mapping[str, Any], form: str) -> list[Axes]:
    return [[], [("one", 1)]]


def _loss_canonical(answer: Tensor, s: Mapping[str, Any], form: str) -> Tensor:
    return answer.reshape(())


LOSS_TOPIC = Plain(
    places=("x", "ids", "pad_id"),
    ways=_loss_ways,
    offer=_loss_offer,
    axes=_loss_axes,
    names=(),
    canonical=_loss_canonical,
    always=frozenset({"pad_id"}),
)
