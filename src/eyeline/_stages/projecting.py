"""From the token's vector to q, k and v: projections, norms, rotary positions."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from eyeline._stages.stage import Builder, close, dot, first, paren, vector
from eyeline.capture.projections import Linear, Projections, Seen
from eyeline.rotary import apply_rotary


class Vectors(NamedTuple):
    """One query, and the keys and values of the head that it reads."""

    q: Tensor
    k: Tensor
    v: Tensor


def project(build: Builder, parts: Projections, seen: Seen, model: Vectors) -> Vectors:
    """W_Q, W_K, W_V and whatever the model does to q and k before their dot product.

    Args:
        build: Takes the stages.
        parts: The projections.
        seen: What went through them.
        model: q, k and v as the model used them.
    """
    problem = build.map.problem
    assert seen.query_input is not None and seen.kv_input is not None
    x = seen.query_input.reshape(-1, seen.query_input.shape[-1])[build.row].double()
    sources = seen.kv_input.reshape(-1, seen.kv_input.shape[-1]).double()
    build.add("input", "the token's vector", "x", vector("x", x), x, "feature")
    if problem.group > 1:
        build.notes.append(
            f"grouped queries: {problem.group} query heads share a key/value head; "
            f"head {build.head} reads key/value head {build.kv_head}"
        )
    width, value_width = problem.query.shape[-1], problem.value.shape[-1]
    build.arithmetic.sources = sources
    build.arithmetic.linear |= {
        "query": parts.query.head(build.head, width),
        "key": parts.key.head(build.kv_head, width),
        "value": parts.value.head(build.kv_head, value_width),
        "output": parts.output,
    }
    q = _projected(
        *(build, "query", "query: what is it looking for?"),
        *(parts.query.head(build.head, width), x, model.q),
    )
    k = _projected(
        *(build, "key", "keys: what does each token offer?"),
        *(parts.key.head(build.kv_head, width), sources, model.k),
    )
    v = _projected(
        *(build, "value", "values: what does each token give?"),
        *(parts.value.head(build.kv_head, value_width), sources, model.v),
    )
    q, k = _normalise(build, parts, Vectors(q, k, v), model, (x, sources))
    q, k = _rotate(build, q, k, seen, model)
    q = _scale(build, q, model.q)
    return Vectors(
        build.settle("query", q, model.q),
        build.settle("key", k, model.k),
        build.settle("value", v, model.v),
    )


def _projected(
    build: Builder, name: str, title: str, part: Linear, x: Tensor, model: Tensor
) -> Tensor:
    """One vector through its projection, or one per key; the example is of the top key."""
    values, letter = part(x), name[0]
    one, label, per = (), letter, "feature"
    if x.dim() == 2:
        one, label, per = (build.top,), f"{letter}({build.top_label})", "key, feature"
    return build.add(
        name,
        title,
        f"{letter} = W_{letter.upper()} x" + (" + b" if part.bias is not None else ""),
        dot(f"{label}[0]", part.weight[0].double(), x[one], values[one][0], first(part.bias)),
        values,
        per,
        _same(values, model),
    )


def _same(own: Tensor, model: Tensor) -> Tensor | None:
    """The model's numbers if nothing comes between this stage and them."""
    return model if close(own, model) else None


def _normalise(
    build: Builder,
    parts: Projections,
    own: Vectors,
    model: Vectors,
    inputs: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """A norm over each head (Qwen3, Gemma 3), or over all heads before they are split (OLMo 2)."""
    if parts.query_norm is None or parts.key_norm is None:
        return own.q, own.k
    normed, scope = [], ""
    for vectors, norm, part, number, x in (
        (own.q, parts.query_norm, parts.query, build.head, inputs[0]),
        (own.k, parts.key_norm, parts.key, build.kv_head, inputs[1]),
    ):
        weight, width = getattr(norm, "weight", None), vectors.shape[-1]
        if not isinstance(weight, Tensor) or weight.shape[-1] not in (width, len(part.weight)):
            return own.q, own.k  # `settle` will say that it is not known
        whole = weight.shape[-1] != width
        with torch.no_grad():
            result = norm((part(x) if whole else vectors).to(weight.dtype)).double()
        here = slice(number * width, (number + 1) * width)
        normed.append(result[..., here] if whole else result)
        scope = "over all heads" if whole else "per head"
    q, k = normed
    formula = "x ÷ rms(x) × g"
    if isinstance(parts.query_norm, nn.LayerNorm):
        formula = "(x − mean(x)) ÷ std(x) × g"
    for name, values, example, target, per in (
        ("query_norm", q, vector("q", q), model.q, "feature"),
        ("key_norm", k, vector(f"k({build.top_label})", k[build.top]), model.k, "key, feature"),
    ):
        title = f"normalise {name[0]}, {scope}"
        build.add(name, title, formula, example, values, per, _same(values, target))
    return q, k


class _Rotation(NamedTuple):
    cos: Tensor
    sin: Tensor
    interleaved: bool


def _rotations(cos: Tensor, sin: Tensor, head_dim: int) -> Iterator[_Rotation]:
    """The ways in which models pair up numbers and write down angles."""
    written = [(cos, sin)]
    if 2 * cos.shape[1] <= head_dim:  # GPT-OSS writes each pair's angle once
        written.append((cos.repeat(1, 2), sin.repeat(1, 2)))
    for c, s in written:
        if c.shape[1] % 2 == 0 and c.shape[1] <= head_dim:
            yield _Rotation(c, s, False)
            yield _Rotation(c, s, True)
            once = slice(0, c.shape[1] // 2)  # GLM spreads halves over neighbours
            c, s = (angle[:, once].repeat_interleave(2, 1) for angle in (c, s))
            yield _Rotation(c, s, True)


def _rotate(
    build: Builder, q: Tensor, k: Tensor, seen: Seen, model: Vectors
) -> tuple[Tensor, Tensor]:
    if seen.rotary is None:
        return q, k
    cos, sin = (t.reshape(-1, t.shape[-1]).double() for t in seen.rotary)
    if cos.shape[0] != k.shape[0] or cos.shape != sin.shape:
        return q, k
    best, least, turned_k = None, torch.inf, k
    for candidate in _rotations(cos, sin, k.shape[1]):
        turned = apply_rotary(k, candidate.cos, candidate.sin, interleaved=candidate.interleaved)
        error = float((turned - model.k).abs().nan_to_num(nan=0.0).max())
        if error < least:
            best, least, turned_k = candidate, error, turned
    if best is None or not close(turned_k, model.k):
        return q, k  # a layer without positions (NoPE), or something that is not known
    row = slice(build.row, build.row + 1)
    cos, sin = best.cos, best.sin
    build.arithmetic.rotation = (cos, sin, best.interleaved)
    turned_q = apply_rotary(q[None], cos[row], sin[row], interleaved=best.interleaved)[0]
    half = 1 if best.interleaved else cos.shape[1] // 2
    part = f" (its first {cos.shape[1]} numbers)" if cos.shape[1] < k.shape[1] else ""
    build.add(
        "query_rotary",
        f"rotary positions: turn q{part} by its position, {build.row}",
        "q'[i] = q[i] cos − q[j] sin, " + ("j = i+1" if best.interleaved else f"j = i+{half}"),
        _turn("q'[0]", q, half, cos[build.row, 0], sin[build.row, 0], turned_q),
        turned_q,
        "feature",
        _same(turned_q, model.q),
    )
    top = build.top
    build.add(
        "key_rotary",
        f"rotary positions: turn each k{part} by its own",
        "k'[i] = k[i] cos − k[j] sin",
        _turn(f"k'({build.top_label})[0]", k[top], half, cos[top, 0], sin[top, 0], turned_k[top]),
        turned_k,
        "key, feature",
        model.k,
    )
    return turned_q, turned_k


def _turn(name: str, x: Tensor, half: int, cos: Tensor, sin: Tensor, result: Tensor) -> str:
    return f"{name} = {x[0]:.3g}×{cos:.3g} − {paren(x[half])}×{paren(sin)} = {result[0]:.4g}"


def _scale(build: Builder, q: Tensor, model: Tensor) -> Tensor:
    """Some models (OPT, Whisper) divide q by √d here and pass a scale of 1."""
    scaled = q / len(q) ** 0.5
    if close(q, model) or not close(scaled, model) or build.map.problem.scale != 1:
        return q
    return build.add(
        "query_scaled",
        "scale the query: this model does it before the dot product",
        f"q ÷ √{len(q)}",
        f"{paren(q[0])} ÷ {len(q) ** 0.5:.4g} = {scaled[0]:.4g}",
        scaled,
        "feature",
        model,
    )
