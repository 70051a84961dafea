"""Candidates that make known mistakes on purpose: to be looked at, taught with, and tested on.

wrong = forge("attention", "softmax over the queries")
eyeline.check(wrong).name        # 'softmax over the queries'
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from eyeline._errors import EyelineError
from eyeline.doctor import catalogue as known
from eyeline.doctor.recipe import Recipe, Step, Variant

__all__ = ["forge", "forge_variant"]


def forge(what: str, *mistakes: str) -> Callable[..., Any]:
    """An implementation that is right but for these mistakes.

    Args:
        what: What it computes, a name of `eyeline.doctor.KINDS`.
        mistakes: Names of mistakes in different steps; none gives what is right.

    Returns:
        A function, or a module (multi-head attention, block).

    Raises:
        EyelineError: There is no such kind or mistake, or two of them stand in the same step.
    """
    recipe = _RECIPES.get(what)
    if recipe is None:
        raise EyelineError(f"{what!r} is not known; choose one of {', '.join(_RECIPES)}")
    chosen = []
    for name in mistakes:
        found = [m for m in recipe.mistakes if m.name == name]
        if not found:
            raise EyelineError(f"{what} has no mistake {name!r}: see docs/mistakes.md")
        chosen.append(next(found[0].variants()))
    steps: dict[str, Step] = {}
    for variant in chosen:
        both = set(steps) & set(variant.steps)
        if both:
            raise EyelineError(f"two mistakes in the same step: {', '.join(sorted(both))}")
        steps |= variant.steps
    return forge_variant(what, Variant(tuple(v.mistakes[0] for v in chosen), steps))


def forge_variant(what: str, variant: Variant | None) -> Callable[..., Any]:
    """An implementation that is right but for a variant's steps."""
    steps = {} if variant is None else variant.steps
    return _FORGES[what](_RECIPES[what], steps)


def _result(recipe: Recipe, steps: Mapping[str, Step], inputs: Mapping[str, Any]) -> Tensor:
    return getattr(recipe.run(inputs, steps), recipe.result)


def _attention(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        return _result(recipe, steps, _sides(query, key, value, mask, is_causal))

    return attention


def _sides(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool
) -> dict[str, Any]:
    batch, num_heads, q_len, head_dim = query.shape
    return {
        "query": query,
        "key": key,
        "value": value,
        "mask": mask,
        "is_causal": is_causal,
        "offset": key.shape[2] - q_len,
        "scale": 1 / math.sqrt(head_dim),
        "batch": batch,
        "num_heads": num_heads,
        "num_kv_heads": key.shape[1],
        "q_len": q_len,
        "kv_len": key.shape[2],
        "head_dim": head_dim,
        "embed_dim": num_heads * head_dim,
    }


class _Heads(nn.Module):
    """Multi-head attention by the recipe, with weights as others keep them."""

    def __init__(
        self, recipe: Recipe, steps: Mapping[str, Step], num_heads: int = 3, num_kv_heads: int = 3
    ) -> None:
        super().__init__()
        self.recipe, self.wrong = recipe, steps
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        width, narrow = num_heads * 4, num_kv_heads * 4
        self.q_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj, self.v_proj = nn.Linear(width, narrow), nn.Linear(width, narrow)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        source = x if memory is None else memory
        layers = {"query": self.q_proj, "key": self.k_proj, "value": self.v_proj}
        layers["output"] = self.o_proj
        width = x.shape[-1] // self.num_heads
        return _result(
            self.recipe,
            self.wrong,
            {
                **{f"w_{side}": layer.weight for side, layer in layers.items()},
                **{f"b_{side}": layer.bias for side, layer in layers.items()},
                "x": x,
                "keys_from": source,
                "values_from": source,
                "mask": mask,
                "is_causal": is_causal,
                "offset": 0,
                "scale": 1 / math.sqrt(width),
                "batch": x.shape[0],
                "num_heads": self.num_heads,
                "num_kv_heads": self.num_kv_heads,
                "q_len": x.shape[1],
                "kv_len": source.shape[1],
                "head_dim": width,
                "embed_dim": x.shape[-1],
            },
        )


class _Block(nn.Module):
    """A block by the recipe."""

    def __init__(self, recipe: Recipe, steps: Mapping[str, Step], norm_first: bool = True) -> None:
        super().__init__()
        self.recipe, self.wrong, self.norm_first = recipe, steps, norm_first
        self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.attention = nn.Linear(12, 12)  # hooks put a stand-in in its place
        self.feed_forward = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        parts = dict(self.named_children())
        inputs = {**parts, "x": x, "norm_first": self.norm_first}
        return _result(self.recipe, self.wrong, inputs)


def _decoding(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def decode(
        query: Tensor, key: Tensor, value: Tensor, cache: list[Any] | None = None
    ) -> tuple[Tensor, list[Any]]:
        kept = [*(cache or []), (query, key, value)]  # all chunks: the recipe runs on them anew
        ends = torch.tensor([0] + [q.shape[2] for q, _, _ in kept]).cumsum(0).tolist()
        sides = {
            side: torch.cat(parts, 2)
            for side, parts in zip(("query", "key", "value"), zip(*kept, strict=True), strict=True)
        }
        inputs = {
            **sides,
            "chunks": tuple(pairwise(ends)),
            "scale": 1 / math.sqrt(query.shape[-1]),
            "w_output": None,
        }
        return _result(recipe, steps, inputs)[:, :, -query.shape[2] :], kept

    return decode


def _softmax(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def softmax(x: Tensor, dim: int = -1) -> Tensor:
        return _result(recipe, steps, {"x": x, "dim": dim})

    return softmax


def _causal_mask(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def causal_mask(q_len: int, kv_len: int) -> Tensor:
        inputs = {"q_len": q_len, "kv_len": kv_len, "offset": kv_len - q_len}
        return _result(recipe, steps, inputs).bool()

    return causal_mask


def _padding_mask(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def padding_mask(lengths: Tensor, max_len: int) -> Tensor:
        return _result(recipe, steps, {"lengths": lengths, "kv_len": max_len}).bool()

    return padding_mask


def _split_heads(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def split_heads(x: Tensor, num_heads: int) -> Tensor:
        return _result(recipe, steps, {"x": x, "num_heads": num_heads})

    return split_heads


def _merge_heads(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def merge_heads(x: Tensor) -> Tensor:
        return _result(recipe, steps, {"x": x})

    return merge_heads


def _sinusoids(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def sinusoids(length: int, embed_dim: int) -> Tensor:
        inputs = {"length": length, "embed_dim": embed_dim, "base": 1e4, "pairing": "interleaved"}
        return _result(recipe, steps, inputs)

    return sinusoids


def _rotary(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def rotary(x: Tensor, positions: Tensor) -> Tensor:
        inputs = {
            "x": x,
            "positions": positions,
            "length": x.shape[-2],
            "head_dim": x.shape[-1],
            "base": 1e4,
            "pairing": "halves",
        }
        return _result(recipe, steps, inputs)

    return rotary


def _alibi(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def alibi(num_heads: int, length: int) -> Tensor:
        return _result(recipe, steps, {"num_heads": num_heads, "length": length})

    return alibi


def _layer_norm(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return _result(recipe, steps, {"x": x, "weight": weight, "bias": bias, "eps": eps})

    return layer_norm


def _pooling(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def mean_pooling(x: Tensor, mask: Tensor) -> Tensor:
        return _result(recipe, steps, {"x": x, "mask": mask})

    return mean_pooling


def _loss(recipe: Recipe, steps: Mapping[str, Step]) -> Callable[..., Any]:
    def next_token_loss(logits: Tensor, ids: Tensor, pad_id: int) -> Tensor:
        return _result(recipe, steps, {"x": logits, "ids": ids, "pad_id": pad_id})

    return next_token_loss


_FORGES: dict[str, Callable[[Recipe, Mapping[str, Step]], Callable[..., Any]]] = {
    "attention": _attention,
    "grouped attention": _attention,
    "multi-head attention": _Heads,
    "decoding": _decoding,
    "block": _Block,
    "softmax": _softmax,
    "causal mask": _causal_mask,
    "padding mask": _padding_mask,
    "split heads": _split_heads,
    "merge heads": _merge_heads,
    "sinusoids": _sinusoids,
    "rotary positions": _rotary,
    "alibi": _alibi,
    "layer norm": _layer_norm,
    "mean pooling": _pooling,
    "next-token loss": _loss,
}
_RECIPES: dict[str, Recipe] = {
    "attention": known.ATTENTION,
    "grouped attention": known.ATTENTION,
    **{
        recipe.name: recipe
        for recipe in (
            known.MULTI_HEAD,
            known.DECODING,
            known.BLOCK,
            known.SOFTMAX,
            known.CAUSAL_MASK,
            known.PADDING_MASK,
            known.SPLIT_HEADS,
            known.MERGE_HEADS,
            known.SINUSOIDS,
            known.ROTARY,
            known.ALIBI,
            known.LAYER_NORM,
            known.POOLING,
            known.NEXT_TOKEN_LOSS,
        )
    },
}
