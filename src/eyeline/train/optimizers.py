"""What turns gradients into steps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from eyeline.train.recipe import Settings

__all__ = ["Optimizers"]


class Optimizers:
    """The optimizers of a run, one or two, as one.

    `"adamw"` (Loshchilov & Hutter 2017, arXiv:1711.05101) has a rate of its own for every number.
    `"muon"` (Jordan et al. 2024) takes a step of the same size in every direction of a matrix: for
    the matrices between layers, at the size of AdamW's steps (Liu et al. 2025, arXiv:2502.16982,
    equation 4), so that one learning rate serves both; embeddings and vectors keep AdamW.

    Args:
        network: Whose parameters are to move.
        settings: How.
    """

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        between = [m.weight for m in network.modules() if isinstance(m, nn.Linear)]
        muon = between if settings.optimizer == "muon" else []
        taken = {id(p) for p in muon}
        rest = [p for p in network.parameters() if id(p) not in taken]
        self._all: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [
                    {
                        "params": [p for p in rest if p.dim() > 1],
                        "weight_decay": settings.weight_decay,
                    },
                    {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
                ],
                lr=settings.learning_rate,
                betas=settings.betas,
            )
        ]
        if muon:
            self._all.append(
                torch.optim.Muon(
                    muon,
                    lr=settings.learning_rate,
                    weight_decay=settings.weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self._all:
            # theirs, not the network's: between forward and backward FSDP2 shows others there
            optimizer.zero_grad()

    def step(self, rate: float) -> None:
        """Move the parameters along their gradients, at a learning rate."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def kept(self, parameter: Tensor) -> dict[str, Any]:
        """What is remembered of a parameter's gradients, by name."""
        return {k: v for one in self._all for k, v in one.state.get(parameter, {}).items()}

    def restore(self, parameter: Tensor, kept: Callable[[str], Tensor]) -> None:
        """Remember of a parameter's gradients what `kept` gives by name."""
        for optimizer in self._all:
            if any(parameter is p for p in _parameters(optimizer)):
                names = _KEPT[type(optimizer)]
                optimizer.state[parameter] = {name: kept(name) for name in names}


_KEPT = {
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.Muon: ("momentum_buffer",),
}


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
