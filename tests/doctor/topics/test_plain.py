"""Small functions: the kind is read from the name, or stated."""

import pytest
import torch

from eyeline.doctor import check


def softmax(x, dim=-1):
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True))


def split_heads(x, num_heads):
    return x.view(*x.shape[:2], num_heads, -1).permute(0, 2, 1, 3)


def merge_heads(x):
    return x.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def causal_mask(length):
    return torch.ones(length, length, dtype=torch.bool).tril()


def layer_norm(x, weight, bias, eps):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def mean_pooling(x, mask):
    mask = mask[..., None].to(x.dtype)
    return (x * mask).sum(1) / mask.sum(1)


@pytest.mark.parametrize(
    "candidate", [softmax, split_heads, merge_heads, causal_mask, layer_norm, mean_pooling]
)
def test_right_by_its_name(candidate):
    found = check(candidate)
    assert found.ok, found


def test_numpy_functions_are_given_numpy():
    import numpy as np

    def softmax(x, axis=-1):
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    assert check(softmax).ok


def test_a_name_that_says_nothing_wants_a_kind():
    from eyeline import EyelineError

    with pytest.raises(EyelineError, match=r"I cannot tell .* what it computes"):
        check(lambda one: one)
