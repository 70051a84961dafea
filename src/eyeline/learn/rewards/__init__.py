"""The reward: the learner's own code at work in a real model.

Their functions run in their process; the model, and everything that is shown, is in ours.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eyeline.learn.rewards.learner import Learner
    from eyeline.learn.rewards.shown import Shown

__all__ = ["reward"]


def reward(name: str, learner: "Learner") -> "Shown":
    """Let an exercise's code run in a model.

    Args:
        name: Name of the exercise.
        learner: The process that holds the code, which has passed.

    Raises:
        RewardFailed: It passed the probes and still did not do in the model.
    """
    from eyeline.learn.rewards import beside, inside  # with all that a model needs

    every: dict[str, Callable[[Learner], Shown]] = inside.REWARDS | beside.REWARDS
    return every[name](learner)
