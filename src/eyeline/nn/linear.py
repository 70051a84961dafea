"""`x Wᵀ + b`, at the speed of the memory where a few rows of x meet a large W (decoding).

Every number of W is then used once or twice, so reading W is all the work. PyTorch hands one row to
MKL's matrix–vector product, which reads at 11 GB/s on a machine whose memory gives 64; the same
product written as a batch of two, or as W xᵀ, reads at 35 to 46 GB/s (bench/models.py measures it).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.compiler import is_compiling

__all__ = ["Linear", "linear"]

FEW = 4
"""From here on a product by rows of x is as good."""

LARGE = 2**14
"""Numbers in W from which on reading them takes longer than the calls."""


class Linear(torch.nn.Linear):
    """`torch.nn.Linear` whose forward is `linear`."""

    def forward(self, input: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return linear(input, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*batch in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
) -> Float[Tensor, "*batch out"]:
    """`torch.nn.functional.linear`, up to four times as fast on few rows.

    The numbers differ by rounding; the same input gives the same bits.

    Args:
        x: Vectors.
        weight: One row for each number that comes out.
        bias: Added to each vector that comes out.
    """
    width = x.shape[-1] if x.dim() else 0
    few = 0 < x.numel() <= FEW * width and weight.numel() >= LARGE
    if not few or not _plain(x, weight):
        return torch.nn.functional.linear(x, weight, bias)
    rows, out = x.numel() // width, weight.shape[0]
    columns = x.reshape(rows, width).t()
    if rows > 1:
        product = torch.mm(weight, columns).t()
    elif out % 2 == 0:
        product = torch.bmm(weight.view(2, out // 2, width), columns.expand(2, width, 1))
    else:  # a second column costs nothing: it is W that takes the time
        product = torch.mm(weight, columns.expand(width, 2))[:, 0]
    product = product.reshape(*x.shape[:-1], out)
    return product if bias is None else product.add_(bias)


def _plain(x: Tensor, weight: Tensor) -> bool:
    """Whether these are float32 numbers on the CPU, and nobody differentiates or traces."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.is_cpu
        and weight.is_cpu
        and weight.is_contiguous()
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and not is_compiling()
    )
