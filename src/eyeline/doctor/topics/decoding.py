"""Attention with a cache: called chunk by chunk, as a function or as a module."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, cat, nn

from eyeline._errors import EyelineError
from eyeline.doctor._arrays import library_of, to_library
from eyeline.doctor._attempt import Unusable
from eyeline.doctor._cases import Case, Sizes, attention_inputs, normal
from eyeline.doctor._convention import Convention, Hypothesis, arrays_in, pick
from eyeline.doctor._layouts import LAYOUTS, from_output, output_layouts, to_layout
from eyeline.doctor._signature import Signature, cannot_map, read_signature
from eyeline.doctor.options import Options
from eyeline.doctor.recipe import Recipe
from eyeline.doctor.topics.attention import native
from eyeline.doctor.topics.modules import Twins
from eyeline.doctor.topics.multi_head import weights_of

__all__ = ["conventions"]

STATES = {"layout", "num_heads", "weights", "scale", "arrays"}
ADAPTER = "lambda candidate, query, key, value, cache: (output, cache)"
CHUNKS = {
    "3 tokens, then 1, 1, 2": ((0, 3), (3, 4), (4, 5), (5, 7)),
    "token by token": tuple((i, i + 1) for i in range(5)),
    "2 tokens, then 3": ((0, 2), (2, 5)),
}


def conventions(
    name: str, candidate: Callable[..., Any], options: Options, recipe: Recipe
) -> Iterator[Convention]:
    """Every way to call it.

    Raises:
        EyelineError: The signature cannot be mapped.
    """
    asked = candidate if options.adapter is None else partial(options.adapter, candidate)
    module = isinstance(candidate, nn.Module)
    places = ("x", "cache") if module else ("query", "key", "value", "cache")
    signature = read_signature(asked, places)
    parameters = set(signature.parameters)
    if signature.strangers or not ({"query", "key", "value"} <= parameters or "x" in parameters):
        raise cannot_map(name, signature, recipe.signature, ADAPTER)
    if module:
        yield from _modules(candidate, options, signature, recipe)
        return
    if "x" in parameters:
        raise EyelineError(
            f"{name}{signature}: a function that decodes takes query, key, value and cache; if it "
            "is a module's, check the module"
        )
    library = options.arrays or library_of(candidate)
    layouts = ["BHLD", "BLHD", "BLD", "LD"] if options.layout is None else [options.layout]
    for layout in layouts:
        heads, batch = (3 if layout in ("BHLD", "BLHD") else 1), (1 if layout == "LD" else 2)
        for tier, limit in enumerate(("", "values as wide as keys")):
            ways = [Hypothesis({}, _cases(batch, heads, tier, options))]
            call = partial(_ask, asked, signature, library, layout)
            notes = {"layout": LAYOUTS[layout]}
            yield Convention(
                recipe, notes, ways, call, _as_it_is, partial(native, layout), tier, limit
            )


def _cases(batch: int, heads: int, tier: int, options: Options) -> tuple[Case, ...]:
    cases = []
    for seed, (name, chunks) in enumerate(CHUNKS.items()):
        length = chunks[-1][1]
        sizes = Sizes(batch, heads, heads, length, length, value_dim=4 if tier else 6)
        inputs = attention_inputs(sizes, seed=140 + 3 * seed, scale=options.scale)
        del inputs["mask"]  # nothing is hidden but the future
        extra = {"chunks": chunks, "w_output": None, "b_output": None}
        cases.append(Case(name, {**inputs, **extra}))
    return tuple(cases)


def _ask(
    call: Callable[..., Any],
    signature: Signature,
    library: str,
    layout: str,
    s: Mapping[str, Any],
) -> Tensor:
    cache, outputs = None, []
    call = _fresh(call)
    for start, stop in s["chunks"]:
        given: dict[str, Any] = {
            side: to_library(to_layout(s[side][:, :, start:stop], layout), library)
            for side in ("query", "key", "value")
        }
        if "cache" in signature:
            given["cache"] = cache
        for role in {"offset"} & set(signature.parameters):
            given[role] = start
        places, named = signature.arguments(given)
        returned = call(*places, **named)
        sizes = {**s, "q_len": stop - start}
        layouts = output_layouts(sizes, layout)
        answer, which = pick(returned, layouts, {})
        outputs.append(from_output(answer, layouts[which], sizes))
        cache = _next_cache(returned, cache, signature)
    return cat(outputs, 2)


def _fresh(call: Callable[..., Any]) -> Callable[..., Any]:
    """A candidate that keeps its cache in itself starts with an empty one each time."""
    try:
        return copy.deepcopy(call)
    except (TypeError, RuntimeError):
        return call


def _next_cache(returned: Any, before: Any, signature: Signature) -> Any:
    """The cache for the next chunk: what was returned beside the output."""
    if "cache" not in signature:
        return None
    if isinstance(returned, tuple | list) and len(returned) == 2:
        return returned[1]
    if isinstance(returned, tuple | list) and len(returned) > 2:
        return tuple(returned[1:])
    if before is not None:  # changed in place
        return before
    arrays_in(returned)
    raise Unusable(
        "returns no cache",
        "your code returned the output alone; expected (output, cache), and the cache is None at "
        "the first call. If it keeps its cache elsewhere: "
        "adapter=lambda candidate, query, key, value, cache: (output, cache)",
    )


# -- modules -------------------------------------------------------------------------------------


def _modules(
    candidate: nn.Module, options: Options, signature: Signature, recipe: Recipe
) -> Iterator[Convention]:
    twins = Twins(candidate, redraw=options.weights is None)
    hypotheses = []
    for projections, num_heads in weights_of(twins, options):
        notes = {"heads": str(num_heads)}
        if projections.how:
            notes["weights"] = projections.how
        cases = []
        for seed, (name, chunks) in enumerate(CHUNKS.items()):
            length, w = chunks[-1][1], projections.weights
            x = normal(2, length, w["query"].shape[1], seed=160 + seed)
            inputs = _heads(x, projections.inputs(), num_heads, options.scale)
            cases.append(Case(name, {**inputs, "chunks": chunks}))
        hypotheses.append(Hypothesis(notes, tuple(cases)))
    ask = partial(_ask_module, twins, options, signature)
    notes = {"layout": "[batch, length, width]"}
    yield Convention(recipe, notes, hypotheses, ask, _as_it_is, _native_rows)


def _heads(x: Tensor, w: Mapping[str, Any], num_heads: int, scale: float | None) -> dict[str, Any]:
    """Query, key and value in heads, as the weights make them of x."""
    made: dict[str, Any] = {"x": x, "w_output": w["w_output"], "b_output": w["b_output"]}
    head_dim = w["w_query"].shape[0] // num_heads
    for side in ("query", "key", "value"):
        flat = x @ w[f"w_{side}"].T
        if w[f"b_{side}"] is not None:
            flat = flat + w[f"b_{side}"]
        cut = flat.unflatten(-1, (-1, head_dim)).transpose(1, 2)
        made[side] = cut.repeat_interleave(num_heads // cut.shape[1], 1)
    return {**made, "scale": 1 / math.sqrt(head_dim) if scale is None else scale}


def _ask_module(
    twins: Twins, options: Options, signature: Signature, s: Mapping[str, Any]
) -> Tensor:
    module = copy.deepcopy(twins.of(s["x"].dtype))
    call = module if options.adapter is None else partial(options.adapter, module)
    cache, outputs = None, []
    for start, stop in s["chunks"]:
        given: dict[str, Any] = {"x": s["x"][:, start:stop].clone()}
        if "cache" in signature:
            given["cache"] = cache
        for role in {"offset"} & set(signature.parameters):
            given[role] = start
        places, named = signature.arguments(given)
        returned = call(*places, **named)
        width = s["x"].shape[-1] if s["w_output"] is None else s["w_output"].shape[0]
        axes = [("batch", 2), ("queries", stop - start), ("width", width)]
        outputs.append(pick(returned, [axes], {})[0])
        cache = _next_cache(returned, cache, signature)
    return cat(outputs, 1)


def _as_it_is(answer: Tensor, s: Mapping[str, Any]) -> Tensor:
    return answer


def _native_rows(answer: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    return answer, ("batch", "queries", "width")
