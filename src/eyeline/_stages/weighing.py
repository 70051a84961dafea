"""From q and k to the weights: scores, scale, soft-cap, bias, mask, softmax."""

import torch
from torch import Tensor

from eyeline._stages.stage import Builder, dot, paren
from eyeline._types import Tile
from eyeline.impl import _scores


def weigh(build: Builder, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """From q and k to the weights.

    Returns:
        The weights, and which keys may be looked at.
    """
    scaled = _scores_of(build, q, k)
    problem, top = build.map.problem, build.top
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
    row = slice(build.row, build.row + 1)
    tile = Tile(slice(0, 1), slice(build.head, build.head + 1), row, slice(0, k.shape[0]))
    for bias in problem.biases:
        added = bias.tile(tile).detach().double().expand(tile.shape)[0, 0, 0]
        biased = scaled + added
        scaled = build.add(
            "bias",
            f"bias by position: {type(bias).__name__}",
            "s + b",
            f"{scaled[top]:.4g} + {paren(added[top])} = {biased[top]:.4g}",
            biased,
            "key",
        )
    mask = _scores.allowed(problem, tile, _scores.tile_kind(problem, tile))
    live = _scores.live_cells(problem, tile, mask)[0, 0, 0]
    hidden = int((~live).sum())
    rule = f" by {problem.mask}" if problem.mask is not None else ""
    masked = build.add(
        "mask",
        f"mask: {hidden} of {len(live)} keys hidden{rule}",
        "s where allowed, −∞ elsewhere",
        f"{int(live.sum())} keys stay",
        scaled.where(live, -torch.inf),
        "key",
    )
    return _softmax(build, masked, live), live


def _scores_of(build: Builder, q: Tensor, k: Tensor) -> Tensor:
    top, scale = build.top, build.map.problem.scale
    scores = build.add(
        "scores",
        "scores: how well does each key answer the query?",
        "q · k",
        dot(f"q · k({build.top_label})", q, k[top], (k @ q)[top]),
        k @ q,
        "key",
    )
    divisor = 1 / scale if scale else torch.inf
    is_root = abs(divisor - len(q) ** 0.5) < 1e-3
    by = f"√{len(q)}" if is_root else f"{divisor:.4g}"
    scaled = scores * scale
    return build.add(
        "scaled",
        "scale, so that softmax stays awake" if scale != 1 else "scale (this model: by 1)",
        f"scores ÷ {by}",
        f"{scores[top]:.4g} ÷ {divisor:.4g} = {scaled[top]:.4g}",
        scaled,
        "key",
    )


def _softmax(build: Builder, masked: Tensor, live: Tensor) -> Tensor:
    problem, top = build.map.problem, build.top
    largest = masked.max() if bool(live.any()) else masked.new_zeros(())
    exponentials = torch.exp(masked - largest).masked_fill(~live, 0)
    total = exponentials.sum()
    title, formula = "softmax: weights that sum to 1", "e^s ÷ Σ e^s"
    if problem.sinks is not None and bool(live.any()):
        sink = problem.sinks[build.head].double()
        total = total + torch.exp(sink - largest)
        formula = f"e^s ÷ (Σ e^s + e^sink), sink = {float(sink):.4g}"
        left = float(exponentials.sum() / total)
        title = f"softmax with a sink: weights sum to {left:.3f}"
    weights = (exponentials / total).masked_fill(~live, 0)
    return build.add(
        "weights",
        title,
        formula,
        f"e^({masked[top]:.4g} − {paren(largest, 4)}) ÷ {float(total):.4g} = {weights[top]:.4f}",
        weights,
        "key",
        build.weights,
    )
