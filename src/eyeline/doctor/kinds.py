"""The kinds of thing that can be checked, and which one a candidate is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from eyeline._errors import EyelineError
from eyeline.doctor._convention import Convention
from eyeline.doctor import catalogue as known
from eyeline.doctor.recipe import Recipe
from eyeline.doctor.topics import attention, block, decoding, layer_norm, mask_makers
from eyeline.doctor.topics import multi_head, positions
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
    """The kind that is meant.

    Raises:
        EyelineError: It is not one of `KINDS`, or cannot be known.
    """
    if what is None:
        return KINDS["multi-head attention" if isinstance(candidate, nn.Module) else "attention"]
    if what not in KINDS:
        raise EyelineError(f"what={what!r} is not known; choose one of {', '.join(KINDS)}")
    return KINDS[what]
