"""Calls MKL's vector functions once, on one thread, before anything depends on them.

PyTorch's CPU wheels for x86 compute `exp`, `log`, `tanh` and their like on contiguous float32 and
float64 tensors with oneMKL's vector mathematics. MKL chooses a kernel for each function when that
function is first called; when the first call comes from several threads at once, one thread's share
can be computed by a kernel of low accuracy (relative error 2e-4 instead of 1e-7:
https://github.com/pytorch/pytorch/issues/188792, open in torch 2.13). It happened here: about one
fresh process in thirty got weights whose rows summed to 1.00005. A first call on one element cannot
be shared between threads, and settles the choice for the life of the process.

`eyeline._types` imports this module, so that no computing part of eyeline can be loaded without it.
"""

import torch

# What eyeline computes with (exp, log, tanh), and what the models that it watches do (rotary
# positions, activations).
SETTLED = (
    "exp",
    "log",
    "tanh",
    "log2",
    "expm1",
    "log1p",
    "sin",
    "cos",
    "sqrt",
    "rsqrt",
    "erf",
    "erfc",
)


def settle() -> None:
    """Call each function of `SETTLED` once on one float32 and one float64 element."""
    with torch.no_grad():
        for dtype in (torch.float32, torch.float64):
            one = torch.ones(1, dtype=dtype, device="cpu")
            for name in SETTLED:
                getattr(torch, name)(one)


settle()
