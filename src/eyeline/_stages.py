"""The stages of `steps`, one function each: projections, norms, rotary positions, scores, …."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eyeline._types import Tile
from eyeline.capture.projections import Projections, Seen
from eyeline.impl import _scores
from eyeline.maps import AttentionMap
from eyeline.rotary import apply_rotary
from eyeline.tokens import Token


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of the arithmetic.

    Attributes:
        name: Short, stable: "query", "scores", ….
        title: What happens, in a few words.
        formula: In general.
        example: The same with the numbers put in.
        values: The result: one vector, one number per key, or one vector per key.
        per: What `values` run over: "feature", "key" or "key, feature".
        model: What the model had here, where it can be observed.
    """

    name: str
    title: str
    formula: str
    example: str
    values: Tensor
    per: str
    model: Tensor | None = None

    @property
    def delta(self) -> float | None:
        """Largest absolute difference from the model; None where the model does not show it."""
        if self.model is None:
            return None
        difference = (self.values - self.model.to(self.values)).abs()
        return float(difference.max()) if difference.numel() else 0.0


@dataclass(eq=False)
class Builder:
    """Collects stages for one query; `top` is the key that the examples are about."""

    map: AttentionMap
    head: int
    row: int
    keys: Sequence[Token]
    stages: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kv_head = self.head // self.map.problem.group
        self.weights = self.map[0, self.head, self.row].double()
        self.top = int(self.weights.nan_to_num().argmax()) if len(self.keys) else 0

    @property
    def top_label(self) -> str:
        return self.keys[self.top].label

    def add(
        self,
        name: str,
        title: str,
        formula: str,
        example: str,
        values: Tensor,
        per: str,
        model: Tensor | None = None,
    ) -> Tensor:
        model = None if model is None else model.double()
        self.stages.append(Stage(name, title, formula, example, values, per, model))
        return values


def project(
    build: Builder,
    parts: Projections,
    seen: Seen,
    q_model: Tensor,
    k_model: Tensor,
    v_model: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    problem = build.map.problem
    assert seen.query_input is not None and seen.kv_input is not None
    x = seen.query_input.reshape(-1, seen.query_input.shape[-1])[build.row].double()
    sources = seen.kv_input.reshape(-1, seen.kv_input.shape[-1]).double()
    width, value_width = problem.query.shape[-1], problem.value.shape[-1]
    build.add("input", "the token's vector", "x", _vector("x", x), x, "feature")
    if problem.group > 1:
        build.notes.append(
            f"grouped queries: {problem.group} query heads share a key/value head; "
            f"head {build.head} reads key/value head {build.kv_head}"
        )
    query_part = parts.query.head(build.head, width)
    key_part = parts.key.head(build.kv_head, width)
    value_part = parts.value.head(build.kv_head, value_width)
    q, k, v = query_part(x), key_part(sources), value_part(sources)
    plain = parts.query_norm is None and seen.rotary is None
    build.add(
        "query",
        "query: what is it looking for?",
        "q = W_Q x" + (" + b" if query_part.bias is not None else ""),
        _dot("q[0]", query_part.weight[0].double(), x, q[0], _first(query_part.bias)),
        q,
        "feature",
        q_model if plain and _close(q, q_model) else None,
    )
    k_example = key_part.weight[0].double(), sources[build.top], k[build.top, 0]
    build.add(
        "key",
        "keys: what does each token offer?",
        "k = W_K x" + (" + b" if key_part.bias is not None else ""),
        _dot(f"k({build.top_label})[0]", *k_example, _first(key_part.bias)),
        k,
        "key, feature",
        k_model if plain and _close(k, k_model) else None,
    )
    v_example = value_part.weight[0].double(), sources[build.top], v[build.top, 0]
    build.add(
        "value",
        "values: what does each token give?",
        "v = W_V x" + (" + b" if value_part.bias is not None else ""),
        _dot(f"v({build.top_label})[0]", *v_example, _first(value_part.bias)),
        v,
        "key, feature",
        v_model if _close(v, v_model) else None,
    )
    q, k = _normalise(build, parts, q, k, seen, q_model, k_model)
    q, k = _rotate(build, q, k, seen, q_model, k_model)
    q = _settle(build, "query", q, q_model)
    k = _settle(build, "key", k, k_model)
    return q, k, _settle(build, "value", v, v_model)


def _normalise(
    build: Builder,
    parts: Projections,
    q: Tensor,
    k: Tensor,
    seen: Seen,
    q_model: Tensor,
    k_model: Tensor,
) -> tuple[Tensor, Tensor]:
    if parts.query_norm is None or parts.key_norm is None:
        return q, k
    weight = getattr(parts.query_norm, "weight", None)
    if not isinstance(weight, Tensor) or weight.shape != q.shape:
        return q, k  # a norm over all heads at once: `_settle` will say that it is unknown
    dtype = weight.dtype
    with torch.no_grad():
        q = parts.query_norm(q.to(dtype)).double()
        k = parts.key_norm(k.to(dtype)).double()
    last = seen.rotary is None
    title, formula = "normalise q and k", "x / rms(x) * g, per head"
    build.add(
        "query_norm", title, formula, _vector("q", q), q, "feature", q_model if last else None
    )
    build.add(
        "key_norm",
        title,
        formula,
        _vector("k", k[build.top]),
        k,
        "key, feature",
        k_model if last else None,
    )
    return q, k


def _rotate(
    build: Builder, q: Tensor, k: Tensor, seen: Seen, q_model: Tensor, k_model: Tensor
) -> tuple[Tensor, Tensor]:
    if seen.rotary is None:
        return q, k
    cos, sin = (t.reshape(-1, t.shape[-1]).double() for t in seen.rotary)
    if cos.shape[0] != k.shape[0] or cos.shape[1] > k.shape[1]:
        return q, k
    best = None
    for interleaved in (False, True):
        turned = apply_rotary(k, cos, sin, interleaved=interleaved)
        error = float((turned - k_model).abs().max())
        if best is None or error < best[0]:
            best = (error, interleaved, turned)
    assert best is not None
    _, interleaved, turned_k = best
    row = slice(build.row, build.row + 1)
    turned_q = apply_rotary(q[None], cos[row], sin[row], interleaved=interleaved)[0]
    half = 1 if interleaved else cos.shape[1] // 2
    c, s = float(cos[build.row, 0]), float(sin[build.row, 0])
    build.add(
        "query_rotary",
        f"rotary positions: turn q by its position, {build.row}",
        "q'[i] = q[i] cos − q[j] sin, " + ("j = i+1" if interleaved else f"j = i+{half}"),
        f"q'[0] = {q[0]:.3g}×{c:.3g} − {_paren(q[half])}×{_paren(s)} = {turned_q[0]:.4g}",
        turned_q,
        "feature",
        q_model,
    )
    top = build.top
    c, s = float(cos[top, 0]), float(sin[top, 0])
    build.add(
        "key_rotary",
        "rotary positions: turn each k by its own",
        "k'[i] = k[i] cos − k[j] sin",
        f"k'({build.top_label})[0] = {k[top, 0]:.3g}×{c:.3g} − {_paren(k[top, half])}×{_paren(s)}"
        f" = {turned_k[top, 0]:.4g}",
        turned_k,
        "key, feature",
        k_model,
    )
    return turned_q, turned_k


def _settle(build: Builder, name: str, own: Tensor, model: Tensor) -> Tensor:
    """Go on with our numbers if they are the model's, else take the model's and say so."""
    if _close(own, model):
        return own
    build.notes.append(
        f"between the projection and the dot product this model changes its {name} in a way that "
        "eyeline does not know: from here on the numbers are the model's"
    )
    per = "feature" if model.dim() == 1 else "key, feature"
    return build.add(
        f"{name}_adjusted", f"{name} as the model used it", "taken from the model", "", model, per
    )


def weigh(build: Builder, q: Tensor, k: Tensor) -> Tensor:
    """From q and k to the weights."""
    problem, top, label = build.map.problem, build.top, build.top_label
    scores = k @ q
    build.add(
        "scores",
        "scores: how well does each key answer the query?",
        "q · k",
        _dot(f"q · k({label})", q, k[top], scores[top]),
        scores,
        "key",
    )
    root = 1 / problem.scale if problem.scale else float("inf")
    scaled = scores * problem.scale
    is_root = abs(root - q.shape[0] ** 0.5) < 1e-3
    by = f"√{q.shape[0]}" if is_root else f"{root:.4g}"
    build.add(
        "scaled",
        "scale, so that softmax stays awake" if problem.scale != 1 else "scale (this model: by 1)",
        f"scores ÷ {by}",
        f"{scores[top]:.4g} ÷ {root:.4g} = {scaled[top]:.4g}",
        scaled,
        "key",
    )
    if problem.softcap is not None:
        cap = problem.softcap
        capped = cap * torch.tanh(scaled / cap)
        scaled = build.add(
            "softcap",
            f"soft-cap: no score beyond ±{cap:g}",
            f"{cap:g} × tanh(s ÷ {cap:g})",
            f"{cap:g} × tanh({scaled[top]:.4g} ÷ {cap:g}) = {capped[top]:.4g}",
            capped,
            "key",
        )
    tile = Tile(
        slice(0, 1),
        slice(build.head, build.head + 1),
        slice(build.row, build.row + 1),
        slice(0, k.shape[0]),
    )
    for bias in problem.biases:
        added = bias.tile(tile).detach().double().expand(tile.shape)[0, 0, 0]
        biased = scaled + added
        scaled = build.add(
            "bias",
            f"bias by position: {type(bias).__name__}",
            "s + b",
            f"{scaled[top]:.4g} + {_paren(added[top])} = {biased[top]:.4g}",
            biased,
            "key",
        )
    mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
    live = _scores.live_cells(problem, tile, mask)[0, 0, 0]
    masked = scaled.where(live, -torch.inf)
    hidden = int((~live).sum())
    rule = f" by {problem.mask}" if problem.mask is not None else ""
    build.add(
        "mask",
        f"mask: {hidden} of {len(live)} keys hidden{rule}",
        "s where allowed, −∞ elsewhere",
        f"{int(live.sum())} keys stay",
        masked,
        "key",
    )
    return _softmax(build, masked, live)


def _softmax(build: Builder, masked: Tensor, live: Tensor) -> Tensor:
    problem, top = build.map.problem, build.top
    exponentials = (
        torch.exp(masked - masked.max()) if bool(live.any()) else torch.zeros_like(masked)
    )
    total = exponentials.sum()
    formula = "e^s ÷ Σ e^s"
    if problem.sinks is not None and bool(live.any()):
        sink = problem.sinks[build.head].double()
        total = total + torch.exp(sink - masked.max())
        formula = f"e^s ÷ (Σ e^s + e^sink), sink = {float(sink):.4g}"
    weights = exponentials / total if float(total) > 0 else exponentials
    shift = float(masked.max()) if bool(live.any()) else 0.0
    return build.add(
        "weights",
        "softmax: weights that sum to 1"
        if problem.sinks is None
        else f"softmax with a sink: weights sum to {float(weights.sum()):.3f}",
        formula,
        f"e^({masked[top]:.4g} − {shift:.4g}) ÷ {float(total):.4g} = {weights[top]:.4f}",
        weights,
        "key",
        build.weights,
    )


def combine(
    build: Builder,
    weights: Tensor,
    v: Tensor,
    parts: Projections | None,
    seen: Seen | None,
    output: Tensor | None,
) -> None:
    """Weighted sum, concatenation of heads, W_O."""
    seen_output = None if output is None else output[0, build.head, build.row]
    own = weights @ v
    order = weights.argsort(descending=True)[:2].tolist()
    terms = " + ".join(f"{weights[j]:.3f}×{_paren(v[j, 0])}" for j in order)
    more = " + …" if len(weights) > len(order) else ""
    build.add(
        "weighted_sum",
        "weighted sum of the values: the head's output",
        "Σ weight × v",
        f"o[0] = {terms}{more} = {own[0]:.4g}",
        own,
        "feature",
        seen_output,
    )
    if output is None:
        return
    heads = output[0, :, build.row].double().clone()
    heads[build.head] = own
    concat = heads.flatten()
    start = build.head * own.shape[0]
    build.add(
        "concat",
        f"concatenate all {heads.shape[0]} heads",
        "[o of head 0, o of head 1, …]",
        f"numbers {start} to {start + own.shape[0] - 1} of {len(concat)} are this head's",
        concat,
        "feature",
        None if seen is None or seen.concat is None else _row(seen.concat, build.row, concat),
    )
    if parts is None or seen is None or seen.output is None:
        return
    result = parts.output(concat)
    build.add(
        "output",
        "W_O mixes the heads: what attention adds to the token",
        "y = W_O concat" + (" + b" if parts.output.bias is not None else ""),
        _dot("y[0]", parts.output.weight[0].double(), concat, result[0], _first(parts.output.bias)),
        result,
        "feature",
        _row(seen.output, build.row, result),
    )


def _row(tensor: Tensor, row: int, like: Tensor) -> Tensor | None:
    flat = tensor.reshape(-1, tensor.shape[-1])
    return flat[row] if flat.shape[-1] == like.shape[0] else None


def _close(own: Tensor, model: Tensor) -> bool:
    if own.shape != model.shape:
        return False
    scale = max(float(model.abs().max()) if model.numel() else 0.0, 1.0)
    return bool(((own - model).abs() <= 1e-3 * scale).all())


def _first(bias: Tensor | None) -> float | None:
    return None if bias is None else float(bias[0])


def _dot(name: str, a: Tensor, b: Tensor, result: Tensor, bias: float | None = None) -> str:
    terms = " + ".join(f"{x:.3g}×{_paren(y)}" for x, y in zip(a[:3], b[:3], strict=True))
    more = " + …" if len(a) > 3 else ""
    plus = "" if bias is None else f" + {_paren(bias)}"
    return f"{name} = {terms}{more}{plus} = {float(result):.4g}"


def _vector(name: str, values: Tensor) -> str:
    return (
        f"{name} = [{', '.join(f'{x:.3g}' for x in values[:6])}{', …' if len(values) > 6 else ''}]"
    )


def _paren(number: Any) -> str:
    text = f"{float(number):.3g}"
    return f"({text})" if text.startswith("-") else text
