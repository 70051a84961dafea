"""The loop: a batch, its loss, its gradient, a step.

Now and then a look at held-out data, a checkpoint, a word to whoever watches.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from eyeline._errors import EyelineError
from eyeline.train.optimizers import Optimizers
from eyeline.train.processes import Processes, whole
from eyeline.train.recipe import Batch, Recipe, Settings
from eyeline.train.schedule import learning_rate
from eyeline.train.state import State

__all__ = ["Progress", "Run", "train"]

Progress = Callable[["Run"], None]
"""Called after every step."""


def autocast(precision: str, network: nn.Module) -> torch.autocast:
    """Matrix products in bfloat16, if that is wanted."""
    device = next(network.parameters()).device.type
    if precision == "auto":
        fast = device == "cuda" or torch.cpu._is_avx512_bf16_supported()
        precision = "bfloat16" if fast else "float32"
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")


class _Loss(nn.Module):
    """The network called through its loss: what wrappers for several processes hook into."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        self.recipe, self.network = recipe, network

    def forward(self, batch: Batch) -> Tensor:
        with autocast(self.recipe.settings.precision, self.network):
            return self.recipe.loss(self.network, batch)


class Run:
    """A recipe being followed.

    Attributes:
        recipe: What is trained.
        network: Its network, with the parameters of now.
        step: Steps done.
        loss: Loss of the last step, nats per token, over all processes.
        speed: Predicted tokens per second, lately.
        curve: `(step, loss)`, a mean over the steps between.
        checks: What was found on held-out data.
        processes: Who takes part.
    """

    def __init__(self, recipe: Recipe, folder: Path, processes: Processes) -> None:
        self.recipe, self.folder, self.processes = recipe, folder, processes
        settings = recipe.settings
        torch.manual_seed(settings.seed)
        self.network = recipe.network().train()
        self._module = processes.wrap(_Loss(recipe, self.network))
        self._optimizers = Optimizers(self.network, settings)
        self._average = {n: p.detach().clone() for n, p in self.network.named_parameters()}
        self.step, self.loss, self.speed, self.seconds = 0, math.nan, 0.0, 0.0
        self.curve: list[tuple[int, float]] = []
        self.checks: list[dict[str, float]] = []
        self._since: list[float] = []

    def advance(self) -> None:
        """One step.

        Raises:
            EyelineError: The loss is not finite; the last checkpoint is as it was.
        """
        begin, settings = time.perf_counter(), self.recipe.settings
        batch = self.recipe.batch(self.step)
        share = self._module(self.processes.part(batch)) * (self.processes.count / batch.count)
        self.loss = float(self.processes.total(share.detach()) / self.processes.count)
        if not math.isfinite(self.loss):
            raise EyelineError(
                f"the loss is {self.loss} at step {self.step}: the run has diverged; lower the "
                f"learning rate ({settings.learning_rate}) or raise warmup, and start afresh"
            )
        self._optimizers.zero_grad()
        share.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._optimizers.step(learning_rate(self.step, settings))
        self._add_to_average()
        self.step += 1
        seconds = time.perf_counter() - begin
        self.seconds += seconds
        self.speed += (batch.count / seconds - self.speed) / min(self.step, 50)
        self._since.append(self.loss)
        if self.step % 25 == 0:
            self.curve.append((self.step, sum(self._since) / len(self._since)))
            self._since = []

    @torch.no_grad()
    def _add_to_average(self) -> None:
        # a mean of few steps at first, so that the beginning is soon forgotten
        keep = min(self.recipe.settings.average, (1 + self.step) / (10 + self.step))
        for name, parameter in self.network.named_parameters():
            self._average[name].lerp_(parameter, 1 - keep)

    def averaged(self) -> nn.Module:
        """A network of the averaged parameters, in evaluation mode. All processes must ask."""
        network = self.recipe.network()
        tensors = {n: whole(t) for n, t in self._average.items()}
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(tensors[name])
        return network.eval()

    def check(self) -> dict[str, float]:
        """Look at held-out data."""
        with torch.random.fork_rng():
            network = self.averaged()
            with torch.no_grad():
                found = {"step": float(self.step), **self.recipe.check(network)}
        self.checks.append(found)
        return found

    @property
    def watched(self) -> str | None:
        """The name of the number that is to become small."""
        return next((n for n in (self.checks[0] if self.checks else {}) if n != "step"), None)

    @property
    def is_over(self) -> bool:
        """All steps are done, or it has not become better for long."""
        settings = self.recipe.settings
        if self.step >= settings.steps:
            return True
        if settings.patience is None or self.watched is None:
            return False
        numbers = [check[self.watched] for check in self.checks]
        return len(numbers) - 1 - numbers.index(min(numbers)) >= settings.patience

    def save(self) -> None:
        """Write a checkpoint. All processes must ask; one writes."""
        state = self.state()
        if self.processes.first:
            state.write(self.folder)
        self.processes.wait()

    def state(self) -> State:
        """All that going on needs."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            tensors[f"parameter.{name}"] = whole(parameter.detach())
            tensors[f"average.{name}"] = whole(self._average[name])
            for key, value in self._optimizers.kept(parameter).items():
                tensors[f"optimizer.{name}.{key}"] = whole(value)
        return State(
            self.step,
            tensors,
            torch.get_rng_state(),
            asdict(self.recipe.settings),
            self.curve,
            self.checks,
            self.seconds,
            self._since,
        )

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go on from a checkpoint.

        Raises:
            EyelineError: It is of a run with other settings, or of another network.
        """
        settings = asdict(self.recipe.settings)
        settings["betas"] = list(settings["betas"])
        # a setting that is younger than the run had the value that is now its default
        began = asdict(Settings(0, 0.0)) | state.settings
        other = [n for n in settings if began[n] != settings[n]]
        if other:
            raise EyelineError(
                f"{self.folder} holds a run with other settings ({other[0]} was {began[other[0]]}, "
                f"is {settings[other[0]]}): remove it, or train into another folder"
            )
        try:
            for name, parameter in self.network.named_parameters():
                _copy(parameter, state.tensors[f"parameter.{name}"])
                _copy(self._average[name], state.tensors[f"average.{name}"])
                self._optimizers.restore(parameter, partial(_kept, name, parameter, state))
        except (KeyError, RuntimeError) as error:
            raise EyelineError(
                f"{self.folder} holds a run of another network ({error}): remove it, or train into "
                "another folder"
            ) from None
        self.step, self.seconds = state.step, state.seconds
        self.curve, self.checks = list(state.curve), list(state.checks)
        self._since = list(state.since)
        state.restore_generator()


def _copy(target: Tensor, source: Tensor) -> None:
    if isinstance(target, DTensor):
        from torch.distributed.tensor import distribute_tensor

        source = distribute_tensor(source, target.device_mesh, target.placements)
    target.copy_(source)


def _kept(name: str, parameter: Tensor, state: State, key: str) -> Tensor:
    source = state.tensors[f"optimizer.{name}.{key}"]
    if source.shape != parameter.shape:  # AdamW's count of steps
        return source.clone()
    target = torch.zeros_like(parameter)
    _copy(target, source)
    return target


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = True,
    shard: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Follow a recipe to its end, or go on where an earlier run stopped.

    Under `torchrun` each process reads its part of every batch; nothing else changes.

    Args:
        recipe: What to train.
        folder: Where checkpoints go.
        resume: Go on from the checkpoint in `folder`, if there is one.
        shard: With several processes: each holds a part of the parameters (FSDP2).
        progress: Called after every step.

    Raises:
        EyelineError: The data cannot be had, the loss became infinite or NaN, or a checkpoint
            cannot be written or read.
    """
    processes = Processes.joined(shard)
    recipe.prepare()
    run = Run(recipe, Path(folder), processes)
    state = State.read(run.folder) if resume else None
    if state is not None:
        run.restore(state)
    settings = recipe.settings
    while not run.is_over:
        run.advance()
        if run.step % settings.check_every == 0 or run.step == settings.steps:
            run.check()
        if run.step % settings.save_every == 0 or run.is_over:
            run.save()
        if progress is not None and processes.first:
            progress(run)
    return run
