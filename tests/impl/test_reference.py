"""The reference against arithmetic on paper."""

import math

import torch

import eyeline
from eyeline.impl import reference
from eyeline.impl._problem import Problem
from eyeline.impl._statistics import Pooling, Wants


def test_two_keys_by_hand():
    q, k = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[math.log(3), 5.0], [0.0, 7.0]]]])
    v = torch.tensor([[[[8.0], [4.0]]]])
    weights, normalizer = reference.weights(Problem(q, k, v, scale=1.0))
    torch.testing.assert_close(weights, torch.tensor([[[[0.75, 0.25]]]]))
    torch.testing.assert_close(normalizer.logsumexp, torch.tensor([[[math.log(4)]]]))
    output, _ = reference.attend(Problem(q, k, v, scale=1.0))
    torch.testing.assert_close(output, torch.tensor([[[[7.0]]]]))
    half, _ = reference.attend(Problem(q, k, v, scale=0.5))
    share = 3**0.5 / (1 + 3**0.5)
    torch.testing.assert_close(half, torch.tensor([[[[4 + 4 * share]]]]))


def test_the_default_scale_is_one_over_the_root_of_head_dim():
    q, k, v = (torch.randn(1, 1, 3, 16) for _ in range(3))
    default = eyeline.attention(q, k, v, impl="reference")
    torch.testing.assert_close(default, eyeline.attention(q, k, v, scale=0.25, impl="reference"))


def test_statistics_by_hand():
    q, k = torch.tensor([[[[1.0], [0.0]]]]), torch.tensor([[[[math.log(3)], [0.0]]]])
    stats = reference.measure(
        Problem(q, k, k, scale=1.0), Wants(2, True, True, Pooling(1, 2), output=True)
    )
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    torch.testing.assert_close(stats.entropy, torch.tensor([[[entropy, math.log(2)]]]))
    torch.testing.assert_close(stats.received, torch.tensor([[[1.25, 0.75]]]))
    torch.testing.assert_close(stats.pooled, torch.tensor([[[[1.25, 0.75]]]]))
    torch.testing.assert_close(stats.top_k.values, torch.tensor([[[[0.75, 0.25], [0.5, 0.5]]]]))
    assert stats.top_k.indices.tolist() == [[[[0, 1], [0, 1]]]]
    assert stats.output.shape == q.shape


def test_what_was_not_wanted_is_none():
    q = torch.randn(1, 1, 2, 3)
    stats = reference.measure(Problem(q, q, q, scale=1.0), Wants())
    found = [stats.top_k, stats.entropy, stats.received, stats.pooled, stats.output]
    assert found == [None] * 5
