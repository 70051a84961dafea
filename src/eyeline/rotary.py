"""Rotary position embedding: queries and keys are turned by an angle that grows with position."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["apply_rotary"]


def apply_rotary(
    x: Float[Tensor, "*batch length head_dim"],
    cos: Float[Tensor, "*#batch length rotary_dim"],
    sin: Float[Tensor, "*#batch length rotary_dim"],
    *,
    interleaved: bool = False,
) -> Float[Tensor, "*batch length head_dim"]:
    """Turn pairs of numbers of each vector: `(a, b) → (a cos − b sin, b cos + a sin)`.

    Args:
        x: Queries or keys.
        cos: Cosine of each pair's angle, written for both of its numbers.
        sin: The same for the sine.
        interleaved: Pairs are neighbours (RoFormer, GPT-J) rather than halves (Llama, GPT-NeoX).

    Returns:
        The turned vectors; numbers past `rotary_dim` stay as they are (partial rotation).

    References:
        Su et al. 2021, equation 34, arXiv:2104.09864.
    """
    width = cos.shape[-1]
    if width > x.shape[-1] or width % 2:
        raise ValueError(f"rotary_dim must be even and at most head_dim {x.shape[-1]}, got {width}")
    if width < x.shape[-1]:
        turned = apply_rotary(x[..., :width], cos, sin, interleaved=interleaved)
        return torch.cat([turned, x[..., width:]], -1)
    if interleaved:
        partner = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
        return x * cos + partner * sin
    half = width // 2
    turned = x * cos  # the partners are added in place, half by half: no copy of x is made
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned
