"""Exercise 3: the output is a weighted sum of the values."""

from eyeline.learn.exercise import Draw, Exercise, Mistake, Probe

STORY = """
Keys are for being found; values are for being read. Once a query has a weight for every key,
what it reads is the sum of all values, each times its weight. A weight of 1 on one key copies
that value; equal weights give the average.
"""

# --- your file
import torch
from torch import Tensor


def weighted_sum(weights: Tensor, value: Tensor) -> Tensor:
    """For each query, the sum of the values times their weights.

    Shapes:
        weights [q_len, kv_len], value [kv_len, value_dim] -> [q_len, value_dim]

    >>> weights = torch.tensor([[1., 0.], [0.5, 0.5]])
    >>> value = torch.tensor([[10., 0., 2.], [20., 4., 2.]])
    >>> weighted_sum(weights, value)
    tensor([[10.,  0.,  2.],
            [15.,  2.,  2.]])
    """
    # solution
    return weights @ value
    # end


# --- end of your file


def probes(draw: Draw) -> list[Probe]:
    """More keys than queries; a value width of its own."""
    return [
        Probe((draw(3, 5).softmax(-1), draw(5, 4))),
        Probe((draw(1, 6, scale=3).softmax(-1), draw(6, 2))),
    ]


exercise = Exercise(
    title="The output is a weighted sum",
    function="weighted_sum",
    solution=weighted_sum,
    minutes=5,
    difficulty=1,
    story=STORY,
    hints=(
        "For query i: weights[i, 0] * value[0] + weights[i, 1] * value[1] + …",
        "The sum runs over the keys: an axis that weights has last and value has first.",
        "That is what a matrix product does: weights @ value.",
    ),
    probes=probes,
    axes=("query", "value_dim"),
    mistakes=(
        Mistake(
            "the average of all values: the weights were not used",
            lambda weights, value: value.mean(0).expand(len(weights), -1),
            "Do two queries with different weights get different results?",
        ),
        Mistake(
            "the sum of all values: the weights were not used",
            lambda weights, value: value.sum(0).expand(len(weights), -1),
            "Do two queries with different weights get different results?",
        ),
        Mistake(
            "the value with the largest weight only",
            lambda weights, value: value[weights.argmax(-1)],
            "That is a dictionary. What should a weight of 0.4 contribute?",
        ),
        Mistake(
            "the weighted sum divided by the number of keys",
            lambda weights, value: weights @ value / len(value),
            "The weights sum to 1 already. What does a mean divide by a second time?",
        ),
    ),
)
