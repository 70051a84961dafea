"""What demonstrations share."""

import torch
from torch import Tensor

from eyeline.functional import observe
from eyeline.learn.drill.question import Option
from eyeline.masks import Mask

__all__ = ["allowed", "no", "normal", "yes"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed numbers in float64; the same for the same seed and shape."""
    generator = torch.Generator().manual_seed(seed + 7919 * len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def allowed(mask: Mask, q_len: int, kv_len: int) -> Tensor:
    """A symbolic mask as booleans `[q_len, kv_len]`: where weights are above 0."""
    query, key = torch.zeros(1, 1, q_len, 1), torch.zeros(1, 1, kv_len, 1)
    _, weights = observe(query, key, key, attn_mask=mask)
    return weights.dense()[0, 0] > 0


def yes(text: str, why: str) -> Option:
    """The right option."""
    return Option(text, why, True)


def no(text: str, why: str) -> Option:
    """A wrong option."""
    return Option(text, why)
