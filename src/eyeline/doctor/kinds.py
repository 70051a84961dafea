"""The kinds of thing that can be checked, and which one a candidate is."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from eyeline._errors import EyelineError
from eyeline.doctor import catalogue as known
from eyeline.doctor._convention import Convention
from eyeline.doctor._signature import read_signature
from eyeline.doctor.recipe import Recipe
from eyeline.doctor.topics import (
    attention,
    block,
    decoding,
    layer_norm,
    mask_makers,
    multi_head,
    positions,
)
from eyeline.doctor.topics import shapes_and_losses as small
from eyeline.doctor.topics.plain import Plain
from eyeline.doctor.topics.softmax import SOFTMAX_TOPIC

__all__ = ["KINDS", "Kind", "kind_of"]


@dataclass(frozen=True)
class Kind:
    """Something that can be checked.

    Attributes:
        name: As `check(what=…)` calls it.
        recipe: What is right, and the known mistakes.
        conventions: Every way to call a candidate.
        states: What a caller may state about it.
    """

    name: str
    recipe: Recipe
    conventions: Callable[..., Iterator[Convention]]
    states: set[str]

    @property
    def signature(self) -> str:
        """How a candidate (or its adapter, after the candidate) is called."""
        return self.recipe.signature


_NAMES = (
    (r"gqa|grouped|multi_?query", "grouped attention"),
    (r"(causal|look_?ahead|subsequent|future).*mask|mask.*causal", "causal mask"),
    (r"pad.*mask|mask.*pad|length.*mask", "padding mask"),
    (r"split.*head|head.*split", "split heads"),
    (r"(merge|combine|concat|join).*head|head.*(merge|combine)", "merge heads"),
    (r"rope|rotary", "rotary positions"),
    (r"alibi", "alibi"),
    (r"sinus|pos\w*_?(enc|emb)|^pe$", "sinusoids"),
    (r"layer_?norm", "layer norm"),
    (r"soft_?max", "softmax"),
    (r"pool", "mean pooling"),
    (r"loss|cross_?entropy", "next-token loss"),
    (r"decode|decoding|kv_?cache|cached", "decoding"),
)
"""What a candidate's name says, the first that fits."""

_OF_MODULES = {"rotary positions", "sinusoids", "layer norm", "softmax", "mean pooling", "alibi"}


def _plain(recipe: Recipe, topic: Plain, states: set[str]) -> Kind:
    return Kind(recipe.name, recipe, topic.conventions, states)


_ARRAYS = {"arrays"}
_ALL = (
    Kind("attention", known.ATTENTION, attention.conventions, attention.STATES),
    Kind("grouped attention", known.ATTENTION, attention.grouped, attention.STATES),
    Kind("multi-head attention", known.MULTI_HEAD, multi_head.conventions, multi_head.STATES),
    Kind("decoding", known.DECODING, decoding.conventions, decoding.STATES),
    Kind("block", known.BLOCK, block.conventions, block.STATES),
    _plain(known.SOFTMAX, SOFTMAX_TOPIC, _ARRAYS),
    _plain(known.CAUSAL_MASK, mask_makers.CAUSAL_TOPIC, mask_makers.STATES),
    _plain(known.PADDING_MASK, mask_makers.PADDING_TOPIC, mask_makers.STATES),
    _plain(known.SPLIT_HEADS, small.SPLIT_TOPIC, _ARRAYS),
    _plain(known.MERGE_HEADS, small.MERGE_TOPIC, _ARRAYS),
    _plain(known.SINUSOIDS, positions.SINUSOIDS_TOPIC, positions.STATES),
    _plain(known.ROTARY, positions.ROTARY_TOPIC, positions.ROTARY_STATES),
    _plain(known.ALIBI, positions.ALIBI_TOPIC, _ARRAYS),
    _plain(known.LAYER_NORM, layer_norm.LAYER_NORM_TOPIC, _ARRAYS),
    _plain(known.POOLING, small.POOLING_TOPIC, _ARRAYS),
    _plain(known.NEXT_TOKEN_LOSS, small.LOSS_TOPIC, _ARRAYS),
)
KINDS = {kind.name: kind for kind in _ALL}


def kind_of(candidate: Callable[..., Any], name: str, what: str | None) -> Kind:
    """The kind that is meant: stated, or plain from its parameters or its name.

    Raises:
        EyelineError: It is not one of `KINDS`, or cannot be known.
    """
    if what is not None:
        if what not in KINDS:
            raise EyelineError(f"what={what!r} is not known; choose one of {', '.join(KINDS)}")
        return KINDS[what]
    named = next((kind for pattern, kind in _NAMES if re.search(pattern, name, re.I)), None)
    if isinstance(candidate, nn.Module):
        if block.is_block(candidate):
            return KINDS["block"]
        return KINDS[named if named in _OF_MODULES else "multi-head attention"]
    roles = set(read_signature(candidate, ()).parameters)
    if {"query", "key", "value"} <= roles:
        if "cache" in roles:
            return KINDS["decoding"]
        return KINDS["grouped attention" if named == "grouped attention" else "attention"]
    if {"x", "w_query", "w_key", "w_value"} <= roles:
        return KINDS["multi-head attention"]
    if named is not None:
        return KINDS[named]
    if len(read_signature(candidate, ()).names) in (3, 4) and "att" in name.lower():
        return KINDS["attention"]
    raise EyelineError(
        f"I cannot tell from {name}{read_signature(candidate, ())} what it computes: say it, "
        f'check({name}, "softmax"); kinds are {", ".join(KINDS)}'
    )
