"""Functions of query, key and value: every layout, every form of mask."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from eyeline.doctor._arrays import library_of, to_library
from eyeline.doctor._cases import LONG, Case, Sizes, attention_inputs, random_mask
from eyeline.doctor._convention import Convention, Hypothesis, pick
from eyeline.doctor._layouts import (
    LAYOUTS,
    MASK_AXES,
    MASK_FORMS,
    from_output,
    output_layouts,
    shape_mask,
    to_layout,
)
from eyeline.doctor._signature import Signature, cannot_map, read_signature
from eyeline.doctor.catalogue import ATTENTION
from eyeline.doctor.options import Options
from eyeline.doctor.recipe import Recipe

__all__ = ["conventions", "grouped", "native"]

ADAPTER = "lambda candidate, query, key, value, mask: candidate(…)"
PLACES = ("query", "key", "value", "mask")
LIMITS = ("", "values as wide as keys", "as many queries as keys")
STATES = {"layout", "mask", "causal", "scale", "arrays", "empty_rows", "num_heads"}


def conventions(
    name: str,
    candidate: Callable[..., Any],
    options: Options,
    recipe: Recipe = ATTENTION,
    *,
    grouped: bool = False,
) -> Iterator[Convention]:
    """Every way to call it, the likeliest first.

    Raises:
        EyelineError: The signature cannot be mapped.
    """
    call = candidate if options.adapter is None else partial(options.adapter, candidate)
    signature = read_signature(call, PLACES)
    if signature.strangers or not {"query", "key", "value"} <= set(signature.parameters):
        raise cannot_map(name, signature, recipe.signature, ADAPTER)
    library = options.arrays or library_of(candidate)
    yield from _ways(call, signature, options, library, recipe, grouped)
    masks = {"mask", "padding"} & set(signature.parameters)
    if masks and not masks & signature.required and options.mask is None:
        bare = signature.without("mask", "padding")
        for convention in _ways(call, bare, options, library, recipe, grouped):
            yield replace(convention, tier=convention.tier + 3, masks_unused=True)


def _ways(
    call: Callable[..., Any],
    signature: Signature,
    options: Options,
    library: str,
    recipe: Recipe,
    grouped: bool,
) -> Iterator[Convention]:
    for tier, layout in product(range(3), _layouts(options)):
        if grouped and layout in ("BLD", "LD"):
            continue
        sizes = _sizes(layout, grouped, tier)
        for (axes, form), joined in product(_mask_ways(signature, options, layout), (False, True)):
            if joined and (form is None or "is_causal" in signature or options.causal is not None):
                continue
            meant = _hypotheses(signature, options, sizes, axes, joined=joined)
            notes = {"layout": LAYOUTS[layout]}
            if form is not None:
                notes["mask"] = f"{MASK_FORMS[form]}, {MASK_AXES[axes]}"
            if joined:
                notes["mask"] += ", and causal already"
            yield Convention(
                recipe,
                notes,
                meant,
                partial(_call, call, signature, library, layout, axes, form),
                partial(_read, layout),
                partial(native, layout),
                tier,
                LIMITS[tier],
            )


def grouped(
    name: str, candidate: Callable[..., Any], options: Options, recipe: Recipe
) -> Iterator[Convention]:
    """The same with fewer key and value heads than query heads."""
    return conventions(name, candidate, options, recipe, grouped=True)


def _hypotheses(
    signature: Signature, options: Options, sizes: Sizes, axes: str, *, joined: bool = False
) -> list[Hypothesis]:
    """What the function may be meant to compute: causal or not, if that is not an argument."""
    flag = "is_causal" in signature
    corners: list[str | None] = [None]
    if options.causal in (True, "top-left", "bottom-right") or (
        options.causal is None and not flag
    ):
        corners = ["top-left", "bottom-right"] if sizes.q_len != sizes.kv_len else ["top-left"]
        if isinstance(options.causal, str):
            corners = [options.causal]
        if options.causal is None:
            corners = [None, *corners]
    if joined:  # whoever gives a mask has put causality into it
        corners = ["top-left"]
    found = []
    for corner in corners:
        notes = {} if corner is None else {"causal": f"always, aligned {corner.replace('-', ' ')}"}
        found.append(Hypothesis(notes, _cases(signature, options, sizes, axes, corner, joined)))
    return found


def _cases(
    signature: Signature,
    options: Options,
    sizes: Sizes,
    axes: str,
    corner: str | None,
    joined: bool,
) -> tuple[Case, ...]:
    flag = "is_causal" in signature
    masked = "mask" in signature or "padding" in signature
    scale = options.scale
    # causality inside is causality in every case; as an argument it is in those that pass it
    inside: dict[str, Any] = {
        "is_causal": corner is not None and not flag,
        "bottom_right": corner == "bottom-right",
    }
    make = partial(attention_inputs, scale=scale, strict=options.empty_rows is not None)
    cases = [Case("no mask", make(sizes, seed=1, **inside))]
    if masked:
        for name, empty in (("a mask", False), ("a mask that hides everything from one", True)):
            mask = _mask(sizes, axes, seed=4, empty=empty)
            if joined:
                mask = mask & torch.ones(mask.shape[-2:], dtype=torch.bool).tril()
            batch = replace(sizes, batch=mask.shape[0])
            cases.append(Case(name, make(batch, seed=5, mask=mask, **inside)))
    if flag:
        other = sizes if corner is not None else sizes.square()
        set_: dict[str, Any] = {"is_causal": True, "bottom_right": corner == "bottom-right"}
        cases.append(Case("causal", make(other, seed=9, **set_)))
        if masked:
            mask = _mask(sizes.square(), axes, seed=13, empty=False)
            batch = replace(sizes.square(), batch=mask.shape[0])
            both = make(batch, seed=14, mask=mask, **set_)
            cases.append(Case("causal and a mask", both, optional=True))
    cases.append(Case("large scores", make(sizes, seed=17, deviation=45.0, **inside)))
    far = LONG if sizes.q_len != sizes.kv_len else 150
    long = replace(sizes, kv_len=far, q_len=sizes.q_len if sizes.q_len != sizes.kv_len else far)
    cases.append(Case(f"{far} keys", make(long, seed=21, **inside), optional=True))
    return tuple(cases)


def _mask(sizes: Sizes, axes: str, *, seed: int, empty: bool) -> Tensor:
    """A mask that can be told in those axes: padding has one row for all queries."""
    if axes == "BS":
        lengths = torch.tensor([sizes.kv_len - 3, sizes.kv_len - 1, 2, 0 if empty else 1])[:, None]
        seen = torch.arange(sizes.kv_len) < lengths
        return seen[:, None, None].expand(-1, 1, sizes.q_len, -1)
    batch = 1 if axes == "LS" else sizes.batch
    mask = random_mask(batch, sizes.q_len, sizes.kv_len, seed=seed, empty=empty)
    return mask.expand(sizes.batch, -1, -1, -1)


def _layouts(options: Options) -> list[str]:
    return list(LAYOUTS) if options.layout is None else [options.layout]


def _sizes(layout: str, grouped: bool, tier: int) -> Sizes:
    sizes = Sizes()
    if grouped:
        sizes = Sizes(num_heads=6, num_kv_heads=3, value_dim=8)
    if layout in ("BLD", "LD"):
        sizes = replace(sizes, num_heads=1, num_kv_heads=1)
    if layout == "LD":
        sizes = replace(sizes, batch=1)
    if tier >= 1:
        sizes = sizes.even()
    return sizes.square() if tier == 2 else sizes


def _mask_ways(signature: Signature, options: Options, layout: str) -> list[tuple[str, str | None]]:
    if "mask" in signature:
        shapes = {"BHLD": ("B1LS", "BLS", "LS", "BS"), "BLHD": ("B1LS", "BLS", "LS", "BS")}
        all_axes = shapes.get(layout, ("BLS", "LS", "BS") if layout == "BLD" else ("LS",))
        forms = list(MASK_FORMS) if options.mask is None else [options.mask]
        return list(product(all_axes, forms))
    if "padding" in signature and layout != "LD":
        forms = ["ignore", "attend"] if options.mask is None else [options.mask]
        return [("BS", form) for form in forms]
    return [("B1LS", None)]


def _call(
    call: Callable[..., Any],
    signature: Signature,
    library: str,
    layout: str,
    axes: str,
    form: str | None,
    s: Mapping[str, Any],
) -> Any:
    given: dict[str, Any] = {
        side: to_library(to_layout(s[side], layout), library) for side in ("query", "key", "value")
    }
    if any(s[side].requires_grad for side in given):
        given = {side: to_layout(s[side], layout) for side in given}
    if form is not None:
        mask = s["mask"]
        role = "mask" if "mask" in signature else "padding"
        if mask is None and role in signature.required:
            mask = torch.ones(s["batch"], 1, s["q_len"], s["kv_len"], dtype=torch.bool)
        if mask is not None:
            shaped = shape_mask(mask, form, axes, s["query"].dtype)
            given[role] = to_library(shaped, library)
    if "is_causal" in signature and (s["is_causal"] or "is_causal" in signature.required):
        given["is_causal"] = s["is_causal"]
    if "enable_gqa" in signature.names and s["group"] > 1:
        given["enable_gqa"] = True
    if "num_heads" in signature.required:
        given["num_heads"] = s["num_heads"]
    places, named = signature.arguments(given)
    return call(*places, **named)


def _read(layout: str, returned: Any, s: Mapping[str, Any]) -> Tensor:
    """The output in what it returned, [batch, heads, queries, width]."""
    layouts = output_layouts(s, layout)
    output, which = pick(returned, layouts, _lengths(s))
    return from_output(output, layouts[which], s)


def _lengths(s: Mapping[str, Any]) -> dict[str, int]:
    return {
        "batch items": s["batch"],
        "heads": s["num_heads"],
        "queries": s["q_len"],
        "keys": s["kv_len"],
        "numbers in a key": s["head_dim"],
        "numbers in a value": s["value"].shape[-1],
    }


def native(layout: str, output: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """An output as the caller of the function sees it."""
    names = {
        "BHLD": ("batch", "heads", "queries", "width"),
        "BLHD": ("batch", "queries", "heads", "width"),
        "BLD": ("batch", "queries", "width"),
        "LD": ("queries", "width"),
    }
    return to_layout(output, layout), names[layout]
