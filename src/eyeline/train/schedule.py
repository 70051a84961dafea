"""The learning rate over a run."""

import math

from eyeline.train.recipe import Settings

__all__ = ["learning_rate"]


def learning_rate(step: int, settings: Settings) -> float:
    """A line up over `warmup` steps, then half a cosine down to `last_rate` of the highest.

    References:
        Loshchilov & Hutter 2016, arXiv:1608.03983 (without restarts).
    """
    highest, lowest = settings.learning_rate, settings.learning_rate * settings.last_rate
    if step < settings.warmup:
        return highest * (step + 1) / settings.warmup
    part = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * min(part, 1.0))) / 2
