"""Rotary positions: the angles by which queries and keys are turned, and the ways to stretch them.

A pair of numbers of each head is turned by `position * frequency`; pair i of d / 2 has the
frequency `theta^(-2i / d)`. Stretching lets a model read beyond the length that it was trained on.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["Angles", "Rotary", "Stretch"]

Angles: TypeAlias = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]
"""Cosine and sine, `[batch or 1, 1, length, head_dim]` each: they broadcast over heads."""

Kind: TypeAlias = Literal["default", "linear", "dynamic", "yarn", "longrope", "llama3"]


@dataclass(frozen=True)
class Stretch:
    """How frequencies are changed for long texts; names as in Hugging Face's `rope_parameters`.

    Attributes:
        kind: "default": not at all. "linear": all divided by `factor`. "dynamic": a larger theta
            for longer texts. "yarn": slow pairs divided, fast ones kept. "longrope": each pair has
            a factor of its own. "llama3": slow pairs divided, with a smooth border.
        factor: How many times longer texts may be.
        original_length: The length that the model was trained on.
        attention_factor: Multiplies cosine and sine; None is what each kind's paper says.
        beta_fast: YaRN: pairs that turn more often than this are kept.
        beta_slow: YaRN: pairs that turn less often than this are divided.
        mscale: YaRN: weight of log(factor) in `attention_factor`, together with the next.
        mscale_all_dim: YaRN: the same, divided by.
        truncate: YaRN: the border lies on whole pairs.
        low_freq_factor: Llama 3: waves longer than `original_length` over this are divided.
        high_freq_factor: Llama 3: waves shorter than `original_length` over this are kept.
        short_factor: LongRoPE: each pair's divisor in texts up to `original_length`.
        long_factor: LongRoPE: the same in longer texts.
        divisors: Any kind: each pair's frequency is divided by its own number, which replaces the
            above (llama.cpp writes Llama 3's stretch so).
    """

    kind: Kind = "default"
    factor: float = 1.0
    original_length: int = 2048
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    short_factor: tuple[float, ...] = field(default=(), repr=False)
    long_factor: tuple[float, ...] = field(default=(), repr=False)
    divisors: tuple[float, ...] = field(default=(), repr=False)


class Rotary(nn.Module):
    """Cosine and sine of every position's angles.

    Args:
        head_dim: Width of a head, even.
        theta: The longest wave is `2 π theta` positions, nearly.
        stretch: How frequencies are changed.

    References:
        Su et al. 2021, arXiv:2104.09864. Linear: Chen et al. 2023, arXiv:2306.15595. YaRN: Peng et
        al. 2023, arXiv:2309.00071. LongRoPE: Ding et al. 2024, arXiv:2402.13753. Llama 3:
        Grattafiori et al. 2024, arXiv:2407.21783, and its released code.
    """

    def __init__(self, head_dim: int, theta: float = 10000.0, stretch: Stretch = Stretch()) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"rotary positions turn pairs of numbers: head_dim {head_dim} is odd")
        for name in ("short_factor", "long_factor", "divisors"):
            count = len(getattr(stretch, name))
            if count not in (0, head_dim // 2):
                raise ValueError(f"{name} has {count} numbers, a head has {head_dim // 2} pairs")
        self.head_dim, self.theta, self.stretch = head_dim, theta, stretch

    def forward(
        self,
        positions: Int[Tensor, "..."],
        dtype: torch.dtype = torch.float32,
        *,
        length: int | None = None,
    ) -> Angles:
        """The angles of the tokens at these positions.

        Args:
            positions: `[length]`, or `[batch, length]`.
            dtype: Of cosine and sine; angles are computed in float32.
            length: How long the text is, for kinds that depend on it; default: up to the last of
                `positions`.
        """
        if length is None and self.stretch.kind in ("dynamic", "longrope"):
            length = int(positions.max()) + 1 if positions.numel() else 0
        frequencies = self.frequencies(length or 0).to(positions.device)
        angles = positions[..., None, :, None].float() * frequencies
        angles = torch.cat(
            [angles, angles], -1
        )  # the two numbers of a pair stand half a head apart
        scale = self.attention_factor
        return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)

    @property
    def attention_factor(self) -> float:
        """What cosine and sine are multiplied with."""
        how = self.stretch
        if how.attention_factor is not None:
            return how.attention_factor
        if how.kind == "yarn":
            if how.mscale and how.mscale_all_dim:
                return _mscale(how.factor, how.mscale) / _mscale(how.factor, how.mscale_all_dim)
            return _mscale(how.factor)
        if how.kind == "longrope" and how.factor > 1:
            return math.sqrt(1 + math.log(how.factor) / math.log(how.original_length))
        return 1.0

    def frequencies(self, length: int = 0) -> Float[Tensor, " half_head_dim"]:
        """Radians per position of each pair, in a text of that length."""
        how, theta = self.stretch, self.theta
        exponents = torch.arange(0, self.head_dim, 2).float() / self.head_dim
        if how.kind == "dynamic" and length > how.original_length:
            grown = how.factor * length / how.original_length - (how.factor - 1)
            theta = theta * grown ** (self.head_dim / (self.head_dim - 2))
        plain = 1.0 / theta**exponents
        if how.divisors:
            return plain / torch.tensor(how.divisors)
        if how.kind == "linear":
            return plain / how.factor
        if how.kind == "longrope":
            chosen = how.long_factor if length > how.original_length else how.short_factor
            return 1.0 / (torch.tensor(chosen) * theta**exponents)
        if how.kind == "yarn":
            kept = 1 - self._yarn_ramp()
            return plain / how.factor * (1 - kept) + plain * kept
        return self._llama3(plain) if how.kind == "llama3" else plain

    def _yarn_ramp(self) -> Tensor:
        """0 for pairs that turn fast, 1 for pairs that turn slowly, a line between the two."""
        how, width = self.stretch, self.head_dim

        def pair_with(turns: float) -> float:
            """Which pair turns so often within the original length."""
            waves = math.log(how.original_length / (turns * 2 * math.pi))
            return width * waves / (2 * math.log(self.theta))

        low, high = pair_with(how.beta_fast), pair_with(how.beta_slow)
        if how.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, width - 1)
        if low == high:
            high += 0.001
        return ((torch.arange(width // 2).float() - low) / (high - low)).clamp(0, 1)

    def _llama3(self, plain: Tensor) -> Tensor:
        how, waves = self.stretch, 2 * math.pi / plain
        longest = how.original_length / how.low_freq_factor
        shortest = how.original_length / how.high_freq_factor
        share = (how.original_length / waves - how.low_freq_factor) / (
            how.high_freq_factor - how.low_freq_factor
        )
        smooth = (1 - share) * plain / how.factor + share * plain
        divided = torch.where(waves > longest, plain / how.factor, smooth)
        return torch.where(waves < shortest, plain, divided)

    def extra_repr(self) -> str:
        return f"head_dim={self.head_dim}, theta={self.theta:g}, {self.stretch.kind}"


def _mscale(factor: float, weight: float = 1.0) -> float:
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0
