"""From the weights to what attention adds to the token: weighted sum, concatenation, W_O."""

from torch import Tensor

from eyeline._stages.stage import Builder, close, dot, first, paren
from eyeline.capture.projections import Projections, Seen


def combine(
    build: Builder,
    weights: Tensor,
    live: Tensor,
    v: Tensor,
    parts: Projections | None,
    seen: Seen | None,
    output: Tensor | None,
) -> None:
    """Weighted sum, concatenation of heads, W_O.

    Args:
        build: Takes the stages.
        weights: One per key.
        live: Which keys may be looked at; what stands at the others has no say, NaN included.
        v: The values.
        parts: The projections.
        seen: What went through them.
        output: The heads' outputs as the model used them.
    """
    own = weights @ v.masked_fill(~live[:, None], 0)
    order = weights.argsort(descending=True)[:2].tolist()
    terms = " + ".join(f"{weights[j]:.3f}×{paren(v[j, 0])}" for j in order)
    more = " + …" if len(weights) > len(order) else ""
    build.add(
        "weighted_sum",
        "weighted sum of the values: the head's output",
        "Σ weight × v",
        f"o[0] = {terms}{more} = {own[0]:.4g}",
        own,
        "feature",
        None if output is None else output[0, build.head, build.row],
    )
    if output is None:
        return
    heads = output[0, :, build.row].double().clone()
    heads[build.head] = own
    concat = heads.flatten()
    start = build.head * own.shape[0]
    before_output = None if seen is None or seen.concat is None else _row(seen.concat, build.row)
    if before_output is None or not close(concat, before_output):
        before_output = output[0, :, build.row].flatten()
    build.add(
        "concat",
        f"concatenate all {heads.shape[0]} heads",
        "[o of head 0, o of head 1, …]",
        f"numbers {start} to {start + own.shape[0] - 1} of {len(concat)} are this head's",
        concat,
        "feature",
        before_output,
    )
    if parts is None or seen is None or seen.concat is None or seen.output is None:
        return
    concat = build.settle("concat", concat, _row(seen.concat, build.row))
    result = parts.output(concat)
    build.add(
        "output",
        "W_O mixes the heads: what attention adds to the token",
        "y = W_O concat" + (" + b" if parts.output.bias is not None else ""),
        dot("y[0]", parts.output.weight[0].double(), concat, result[0], first(parts.output.bias)),
        result,
        "feature",
        _row(seen.output, build.row),
    )


def _row(tensor: Tensor, row: int) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])[row]
