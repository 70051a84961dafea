"""Multi-head attention: modules with their weights, and functions that are given weights."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from eyeline._errors import EyelineError
from eyeline.doctor._arrays import library_of
from eyeline.doctor._cases import Case, normal, random_mask
from eyeline.doctor._convention import Convention, Hypothesis
from eyeline.doctor._layouts import MASK_AXES, MASK_FORMS
from eyeline.doctor._signature import Signature, cannot_map, read_signature
from eyeline.doctor.options import Options
from eyeline.doctor.recipe import Recipe
from eyeline.doctor.topics.heads_call import SEQUENCES, WEIGHTS, HeadsCall, has_flag, native_rows
from eyeline.doctor.topics.modules import BUILD, Twins, find_number
from eyeline.doctor.topics.projections import Projections, find_projections

__all__ = ["conventions", "weights_of"]

ADAPTER = "lambda candidate, x, mask: candidate(…)"
STATES = {"mask", "causal", "scale", "num_heads", "weights", "arrays", "empty_rows", "layout"}


def conventions(
    name: str, candidate: Callable[..., Any], options: Options, recipe: Recipe
) -> Iterator[Convention]:
    """Every way to call it, the likeliest first.

    Raises:
        EyelineError: The signature cannot be mapped, or weights are not found.
    """
    if isinstance(candidate, nn.Module):
        twins = Twins(candidate, redraw=options.weights is None)
        call: Callable[..., Any] = candidate
        readings = weights_of(twins, options)
    else:
        twins, call = None, candidate
        readings = [(one, options.num_heads or 3) for one in _given_weights()]
    asked = call if options.adapter is None else partial(options.adapter, call)
    signature = read_signature(asked, ("x", "mask"))
    supplied = {"num_heads", "embed_dim", "head_dim", "num_kv_heads", *WEIGHTS}
    inputs = {"query", "key", "value"} <= set(signature.parameters) or "x" in signature
    if signature.strangers or not inputs or (twins is None and "w_query" not in signature):
        raise cannot_map(name, signature, recipe.signature, ADAPTER)
    library = options.arrays or ("torch" if twins else library_of(candidate))
    how = partial(HeadsCall, asked, twins, options, library=library, supplied=supplied)
    yield from _ways(how, readings, signature, options, recipe)
    masks = {"mask", "padding"} & set(signature.parameters)
    if masks and not masks & signature.required and options.mask is None:
        bare = signature.without("mask", "padding")
        for convention in _ways(how, readings, bare, options, recipe):
            yield replace(convention, tier=1, masks_unused=True)


def _ways(
    how: Callable[..., "HeadsCall"],
    readings: list[tuple[Projections, int]],
    signature: Signature,
    options: Options,
    recipe: Recipe,
) -> Iterator[Convention]:
    for group, sequence, (axes, form), joined in product(
        _by_widths(readings), SEQUENCES, _mask_ways(signature, options), (False, True)
    ):
        if joined and (form is None or "is_causal" in signature or options.causal is not None):
            continue
        ways = [
            hypothesis
            for projections, num_heads in group
            for hypothesis in _hypotheses(
                projections, num_heads, signature, options, sequence, axes, form, joined
            )
        ]
        if not ways:
            continue
        notes = {"layout": SEQUENCES[sequence]}
        if form is not None:
            notes["mask"] = f"{MASK_FORMS[form]}, {MASK_AXES[axes]}"
        if joined:
            notes["mask"] += ", and causal already"
        one = how(signature=signature, sequence=sequence, axes=axes, form=form)
        yield Convention(recipe, notes, ways, one.call, one.read, partial(native_rows, sequence))


def weights_of(twins: Twins, options: Options) -> list[tuple[Projections, int]]:
    """Weights as they may be meant, each with a number of heads as it may be meant."""
    module = twins.double
    found = []
    for num_heads in _head_counts(module, options):
        for projections in _projections(module, num_heads, options):
            if projections.weights["query"].shape[0] % num_heads == 0:
                found.append((projections, num_heads))
    return found


def _by_widths(readings: list[tuple[Projections, int]]) -> list[list[tuple[Projections, int]]]:
    """Readings that want the same inputs together: the same questions are put for all of them."""
    groups: dict[tuple[int, ...], list[tuple[Projections, int]]] = {}
    for projections, num_heads in readings:
        w = projections.weights
        widths = tuple(w[side].shape[1] for side in ("query", "key", "value"))
        groups.setdefault(widths, []).append((projections, num_heads))
    return list(groups.values())


def _head_counts(module: nn.Module, options: Options) -> list[int]:
    """The number of heads: stated, an attribute, a list's length; else what it might be."""
    known = options.num_heads or find_number(module, "num_heads")
    if known is not None:
        return [known]
    lists = [c for c in module.children() if isinstance(c, nn.ModuleList) and len(c)]
    if lists and not isinstance(lists[0][0], nn.Linear):
        return [len(lists[0])]
    numbers = {n for n in vars(module).values() if type(n) is int and 1 < n}
    return [1, *sorted(numbers)]


def _projections(module: nn.Module, num_heads: int, options: Options) -> list[Projections]:
    if options.weights is not None:
        wanted = {"query", "key", "value"}
        if not wanted <= set(options.weights):
            raise EyelineError(
                f"weights= holds {', '.join(options.weights)}; expected query, key, value and, if "
                "there is one, output: [out, in] each, biases as query_bias and so on"
            )
        sides = [*wanted, *(["output"] if "output" in options.weights else [])]
        weights = {side: options.weights[side].detach().double() for side in sides}
        biases = {
            side: None if bias is None else bias.detach().double()
            for side in sides
            for bias in [options.weights.get(f"{side}_bias")]
        }
        return [Projections(weights, biases)]
    return find_projections(module, num_heads)


def _given_weights() -> list[Projections]:
    """Weights for a function that takes them, read as [out, in] and as [in, out]."""
    width = BUILD["embed_dim"]
    sides = ("query", "key", "value", "output")
    drawn = {
        side: normal(width, width, seed=60 + i, deviation=1.2 / math.sqrt(width))
        for i, side in enumerate(sides)
    }
    turned = {side: weight.T for side, weight in drawn.items()}
    return [
        Projections(drawn, {}, "weights [out, in]"),
        Projections(turned, {}, "weights [in, out]"),
    ]


def _hypotheses(
    projections: Projections,
    num_heads: int,
    signature: Signature,
    options: Options,
    sequence: str,
    axes: str,
    form: str | None,
    joined: bool,
) -> Iterator[Hypothesis]:
    flag = has_flag(signature)
    corners: Sequence[str | None] = [None]
    if options.causal not in (None, False):
        corners = ["top-left"]
    elif options.causal is None and not flag:
        corners = ["top-left"] if joined else [None, "top-left"]
    for corner in corners:
        notes = {"heads": str(num_heads)}
        if projections.how:
            notes["weights"] = projections.how
        if corner and not flag:
            notes["causal"] = "always"
        cases = _cases(
            projections, num_heads, signature, options, sequence, axes, form, corner, joined
        )
        yield Hypothesis(notes, cases)


def _cases(
    projections: Projections,
    num_heads: int,
    signature: Signature,
    options: Options,
    sequence: str,
    axes: str,
    form: str | None,
    corner: str | None,
    joined: bool,
) -> tuple[Case, ...]:
    flag = has_flag(signature)
    inside = corner is not None and not flag
    make = partial(_inputs, projections, num_heads, options)
    batch = 1 if sequence == "LE" else 2
    cross = "query" in signature or "memory" in signature.required
    kv_len = 7 if cross and not inside else 5
    cases = [Case("no mask", make(batch, 5, kv_len, seed=31, is_causal=inside))]
    if form is not None:
        for name, empty in (("a mask", False), ("a mask that hides everything from one", True)):
            mask = _mask(axes, batch, 5, kv_len, empty=empty)
            if joined:
                mask = mask & torch.ones(5, kv_len, dtype=torch.bool).tril()
            role = "mask" if "mask" in signature else "padding"
            made = make(mask.shape[0], 5, kv_len, seed=34, is_causal=inside, mask=mask)
            cases.append(Case(name, {**made, "role": role}))
    if "mask" in signature and "padding" in signature and batch > 1:
        mask = _mask("BS", batch, 5, kv_len, empty=False)
        made = make(mask.shape[0], 5, kv_len, seed=37, is_causal=inside, mask=mask)
        cases.append(Case("padding", {**made, "role": "padding"}))
    if flag:
        cases.append(Case("causal", make(batch, 5, 5, seed=40, is_causal=True)))
        if form is not None:
            mask = _mask(axes, batch, 5, 5, empty=False)
            both = make(mask.shape[0], 5, 5, seed=52, is_causal=True, mask=mask)
            cases.append(Case("causal and a mask", both, optional=True))
    if "memory" in signature and "memory" not in signature.required and not inside:
        cases.append(Case("another sequence", make(batch, 5, 7, seed=46, is_causal=False), True))
    large = make(batch, 5, kv_len, seed=43, is_causal=inside, deviation=40.0)
    long = make(batch, 150, 150, seed=49, is_causal=inside)
    cases += [Case("large scores", large), Case("150 tokens", long, optional=True)]
    return tuple(cases)


def _mask(axes: str, batch: int, q_len: int, kv_len: int, *, empty: bool) -> Tensor:
    if axes == "BS":
        lengths = torch.tensor([kv_len - 3, kv_len - 1, 2, 0 if empty else 1])[:, None]
        return (torch.arange(kv_len) < lengths)[:, None, None].expand(-1, 1, q_len, -1)
    mask = random_mask(1 if axes == "LS" else batch, q_len, kv_len, seed=35, empty=empty)
    return mask.expand(batch, -1, -1, -1)


def _inputs(
    projections: Projections,
    num_heads: int,
    options: Options,
    batch: int,
    q_len: int,
    kv_len: int,
    *,
    seed: int,
    is_causal: bool,
    mask: Tensor | None = None,
    deviation: float = 1.0,
) -> dict[str, Any]:
    w = projections.weights
    head_dim = w["query"].shape[0] // num_heads
    num_kv_heads = max(w["key"].shape[0] // max(head_dim, 1), 1)
    x = normal(batch, q_len, w["query"].shape[1], seed=seed, deviation=deviation)
    keys_from = values_from = x
    cross = q_len != kv_len or {w[side].shape[1] for side in ("key", "value")} != {x.shape[-1]}
    if cross:
        keys_from = normal(batch, kv_len, w["key"].shape[1], seed=seed + 1, deviation=deviation)
        values_from = keys_from
        if w["value"].shape[1] != w["key"].shape[1]:
            values_from = normal(batch, kv_len, w["value"].shape[1], seed=seed + 2)
    return {
        **projections.inputs(),
        "x": x,
        "keys_from": keys_from,
        "values_from": values_from,
        "mask": mask,
        "role": None,
        "empty_rows": 2 if options.empty_rows is not None else 0,
        "padded": 2 if mask is not None and mask.shape[0] == 4 else 0,
        "masked_by_pair": 2 if mask is not None and mask.shape[0] != 4 else 0,
        "is_causal": is_causal,
        "offset": 0,
        "scale": 1 / math.sqrt(head_dim) if options.scale is None else options.scale,
        "batch": batch,
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "group": num_heads // num_kv_heads,
        "q_len": q_len,
        "kv_len": kv_len,
        "cross": 2 if cross else 0,
        "head_dim": head_dim,
        "embed_dim": w["query"].shape[1],
        "output_width": w["output"].shape[0] if "output" in w else 0,
    }


def _mask_ways(signature: Signature, options: Options) -> list[tuple[str, str | None]]:
    forms = list(MASK_FORMS) if options.mask is None else [options.mask]
    if "mask" in signature:
        return list(product(("B1LS", "BLS", "LS", "BS"), forms))
    if "padding" in signature:
        return [("BS", form) for form in (("ignore", "attend") if options.mask is None else forms)]
    return [("LS", None)]
