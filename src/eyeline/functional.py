"""`attention` and `observe`: check the call, choose an implementation, run it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from eyeline import impl as implementations
from eyeline import masks
from eyeline._checks import check_inputs, check_sink_values
from eyeline.biases import Bias, TensorBias
from eyeline.impl._problem import Problem
from eyeline.maps import AttentionMap
from eyeline.masks import Mask
from eyeline.masks.rules import Band
from eyeline.measuring import Measure

__all__ = ["attention", "observe"]


def attention(
    query: Float[Tensor, "*batch num_heads q_len head_dim"],
    key: Float[Tensor, "*batch num_kv_heads kv_len head_dim"],
    value: Float[Tensor, "*batch num_kv_heads kv_len value_dim"],
    attn_mask: Tensor | Mask | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    bias: Tensor | Bias | None = None,
    softcap: float | None = None,
    sinks: Float[Tensor, " num_heads"] | None = None,
    impl: str = "auto",
) -> Float[Tensor, "*batch num_heads q_len value_dim"]:
    r"""Scaled dot-product attention, a drop-in for torch's own.

    $$O = \mathrm{softmax}(\mathrm{softcap}(s\,QK^\top) + B, \text{ where allowed})\,V$$

    Args:
        query: What each position looks for.
        key: What each position offers.
        value: What each position gives when looked at; `value_dim` may differ from `head_dim`.
        attn_mask: A symbolic `Mask`; or a bool tensor, True = may attend; or a float tensor that is
            added to the scores (-inf masks). Tensors broadcast to `[*batch, num_heads, q_len,
            kv_len]`.
        dropout_p: Probability of dropping a weight. As in torch, applied whenever it is above 0.
        is_causal: Query i sees keys up to i, counted from the top left even when
            `q_len != kv_len`; joined with `attn_mask` by AND. `masks.causal(offset=)` is the
            explicit way.
        scale: Multiplies the scores. Default `1 / sqrt(head_dim)`.
        enable_gqa: `num_heads` may be a multiple of `num_kv_heads`; query head h then reads
            key/value head `h // (num_heads / num_kv_heads)`.
        bias: Added to the scaled scores: a tensor, or a symbolic `Bias` (`Alibi`, `RelativeBias`).
        softcap: Scaled scores become `softcap * tanh(scores / softcap)`, before bias and mask.
        sinks: One logit per head that joins the softmax sum and has no value: weights of a row then
            sum to less than 1.
        impl: `"auto"`, `"native"`, `"tiled"` or `"reference"`. A named one raises if it cannot do
            the job.

    Returns:
        The output, in query's dtype. A query that may see nothing gets exactly 0; one that sees a
        NaN or an infinity gets NaN. Where gradients are wanted it must not be overwritten before
        they are taken (autograd says so): the kernels begin with it. `torch.compile` and
        `torch.func` (grad, vjp, jacrev, vmap, one in the other) know the kernels; forward mode
        (jvp, jacfwd) and `torch.func` of float64 take `impl="reference"`.

    Raises:
        TypeError: An argument is not a floating-point tensor.
        ValueError: Shapes, dtypes or devices do not fit; the message names the argument.

    References:
        Vaswani et al. 2017, equation 1, arXiv:1706.03762.

    Example:
        >>> import torch, eyeline
        >>> q, k, v = (torch.randn(1, 12, 128, 64) for _ in range(3))
        >>> eyeline.attention(q, k, v, is_causal=True).shape
        torch.Size([1, 12, 128, 64])
    """
    if bias is softcap is sinks is None and dropout_p == 0:
        band = _plain_band(attn_mask, is_causal)
        if band is not None:
            plain = implementations.quick(impl)(query, key, value, band, scale, enable_gqa)
            if plain is not None:
                return plain
    problem, shape = _canonical(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, bias, softcap, sinks
    )
    output, _ = implementations.choose(impl, problem).attend(problem)
    return output.reshape(shape)


def observe(
    query: Float[Tensor, "*batch num_heads q_len head_dim"],
    key: Float[Tensor, "*batch num_kv_heads kv_len head_dim"],
    value: Float[Tensor, "*batch num_kv_heads kv_len value_dim"],
    attn_mask: Tensor | Mask | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    bias: Tensor | Bias | None = None,
    softcap: float | None = None,
    sinks: Float[Tensor, " num_heads"] | None = None,
    impl: str = "auto",
    measure: Measure | None = None,
) -> tuple[Float[Tensor, "*batch num_heads q_len value_dim"], AttentionMap]:
    """`attention`, and the weights it used as a lazy `AttentionMap`.

    Args:
        query: As in `attention`.
        key: As in `attention`.
        value: As in `attention`.
        attn_mask: As in `attention`.
        dropout_p: As in `attention`; the map shows the weights before dropout.
        is_causal: As in `attention`.
        scale: As in `attention`.
        enable_gqa: As in `attention`.
        bias: As in `attention`.
        softcap: As in `attention`.
        sinks: As in `attention`.
        impl: As in `attention`.
        measure: Statistics to take in the same pass as the output; the map then answers them
            without computing anything again.

    Returns:
        The output and the map. The map refers to `query` and `key`, it does not copy them; where
        these require gradients, its `logsumexp` and `entropy()` can be differentiated. Its
        four dimensions are `[batch, num_heads, q_len, kv_len]`; 3-D inputs become heads of one
        batch item with `enable_gqa`, batch items of one head without.
    """
    problem, shape = _canonical(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, bias, softcap, sinks
    )
    wants = None if measure is None else measure.wants(output=True)
    chosen = implementations.choose(impl, problem, wants)
    needs_gradient = torch.is_grad_enabled() and any(
        t.requires_grad for t in problem.differentiable
    )
    if measure is None or wants is None or needs_gradient:
        output, normalizer = chosen.attend(problem)
        seen = AttentionMap(problem, normalizer, impl=impl, differentiable=needs_gradient)
        if measure is not None:
            seen.take(measure)
    else:
        statistics = chosen.measure(problem, wants)
        output = statistics.output
        seen = AttentionMap(problem, statistics.normalizer, impl=impl)
        seen.remember(measure, statistics)
        if measure.rows:  # all else came with the pass
            seen.take(measure)
    return output.reshape(shape), seen


def _plain_band(
    attn_mask: Tensor | Mask | None, is_causal: bool
) -> tuple[int | None, int | None] | None:
    """How far before and behind itself a query sees, if that is all that the mask says."""
    if attn_mask is None:
        return None, 0 if is_causal else None
    if type(attn_mask) is not Band or is_causal:
        return None
    left, right, offset = attn_mask.left, attn_mask.right, attn_mask.offset
    return None if left is None else offset - left, None if right is None else offset + right


def _canonical(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | Mask | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    bias: Tensor | Bias | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> tuple[Problem, tuple[int, ...]]:
    """The call as a checked 4-D `Problem`, and the shape that the output must get back."""
    check_inputs(query, key, value, enable_gqa=enable_gqa)
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"dropout_p is a probability from 0 to 1, got {dropout_p}")
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"softcap must be a positive number, got {softcap}")
    unbatched_groups = enable_gqa and query.dim() == key.dim() == value.dim() == 3
    if unbatched_groups:  # [num_heads, length, width]: the groups need their head dimension
        query, key, value = query[None], key[None], value[None]
    head_dim = query.shape[-1]
    if scale is None:
        scale = 1 / math.sqrt(head_dim) if head_dim else 1.0
    leading = _leading(query, key, value, enable_gqa)
    query, key, value = (
        _to_4d(tensor, lead) for tensor, lead in zip((query, key, value), leading, strict=True)
    )
    output_shape = (*leading[0], query.shape[-2], value.shape[-1])[unbatched_groups:]

    mask, biases = _mask_and_biases(attn_mask, is_causal, bias, leading[0])
    batch, num_heads, q_len, _ = query.shape
    shape = (batch, num_heads, q_len, key.shape[2])
    if mask is not None:
        mask.check(*shape)
        mask = mask.to(query.device)
    for one in biases:
        one.check(*shape)
    if sinks is not None:
        _check_sinks(sinks, query)
    problem = Problem(
        query,
        key,
        value,
        scale=float(scale),
        mask=mask,
        biases=biases,
        softcap=softcap,
        sinks=sinks,
        dropout_p=float(dropout_p),
        # drawn from torch's generator, so that torch.manual_seed decides it
        dropout_seed=int(torch.randint(2**31, ())) if dropout_p > 0 else 0,
    )
    return problem, output_shape


def _leading(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool
) -> tuple[tuple[int, ...], ...]:
    """Dimensions before `[length, width]` of each input, broadcast against the others."""
    tensors = (query, key, value)
    heads = 1 if enable_gqa else 0  # with groups, the head counts differ and stay as they are
    every = [t.shape[: t.dim() - 2 - heads] for t in tensors]
    try:
        # the first call of torch's imports sympy, a third of a second: most never need it
        alike = every[0] == every[1] == every[2]
        common = every[0] if alike else torch.broadcast_shapes(*every)
    except RuntimeError:
        shapes = ", ".join(str(list(t.shape)) for t in tensors)
        hint = "" if enable_gqa else "; for grouped heads pass enable_gqa=True"
        raise ValueError(
            f"query, key and value do not broadcast against each other: {shapes}{hint}"
        ) from None
    if not enable_gqa:
        return (tuple(common),) * 3
    kv_heads = max(key.shape[-3], value.shape[-3])
    counts = (query.shape[-3], kv_heads, kv_heads)
    return tuple((*common, count) for count in counts)


def _to_4d(tensor: Tensor, leading: tuple[int, ...]) -> Tensor:
    if tensor.dim() >= 3 and len(leading) and tensor.shape[-3] not in (1, leading[-1]):
        # only grouped key/value head counts that differ from each other get here
        tensor = tensor.repeat_interleave(leading[-1] // tensor.shape[-3], -3)
    tensor = tensor.expand(*leading, *tensor.shape[-2:])
    if len(leading) == 2:
        return tensor
    if len(leading) > 2:
        return tensor.flatten(0, len(leading) - 2)
    return tensor.reshape(-1, 1, *tensor.shape[-2:])


def _mask_and_biases(
    attn_mask: Tensor | Mask | None,
    is_causal: bool,
    bias: Tensor | Bias | None,
    leading: tuple[int, ...],
) -> tuple[Mask | None, tuple[Bias, ...]]:
    mask: Mask | None = None
    biases: list[Bias] = []
    if isinstance(attn_mask, Mask):
        mask = attn_mask
    elif attn_mask is not None:
        attn_mask = _scores_like(attn_mask, leading, "attn_mask")
        if attn_mask.dtype == torch.bool:
            mask = masks.dense(attn_mask)
        elif attn_mask.is_floating_point():
            biases.append(TensorBias(attn_mask))
        else:
            raise TypeError(f"attn_mask must be bool, float or a Mask, got {attn_mask.dtype}")
    if is_causal:
        mask = masks.causal() if mask is None else mask & masks.causal()
    if isinstance(bias, Bias):
        biases.append(bias)
    elif bias is not None:
        biases.append(TensorBias(_scores_like(bias, leading, "bias")))
    return mask, tuple(biases)


def _scores_like(tensor: Tensor, leading: tuple[int, ...], name: str) -> Tensor:
    """Bring a tensor that broadcasts to `[*leading, q_len, kv_len]` to at most four dimensions."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if tensor.dim() > len(leading) + 2:
        raise ValueError(
            f"{name} has {tensor.dim()} dimensions, the weights only {len(leading) + 2}"
        )
    if len(leading) == 2 or tensor.dim() <= 2:
        return tensor
    if len(leading) == 1:  # [batch, q_len, kv_len] of single-headed 3-D inputs
        return tensor[:, None]
    tensor = tensor.reshape((1,) * (len(leading) + 2 - tensor.dim()) + tuple(tensor.shape))
    batch = tensor.shape[: len(leading) - 1]
    if all(n == 1 for n in batch):
        return tensor.flatten(0, len(leading) - 2)
    try:
        return tensor.expand(*leading[:-1], *tensor.shape[-3:]).flatten(0, len(leading) - 2)
    except RuntimeError:
        raise ValueError(
            f"{name} of shape {list(tensor.shape)} does not broadcast to {[*leading, '…', '…']}"
        ) from None


def _check_sinks(sinks: Tensor, query: Tensor) -> None:
    if sinks.shape != (query.shape[1],) or not sinks.is_floating_point():
        raise ValueError(
            f"sinks must be floating point [num_heads] = [{query.shape[1]}], "
            f"got {sinks.dtype} {list(sinks.shape)}"
        )
    check_sink_values(sinks)
