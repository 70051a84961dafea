"""Heads cut and joined, tokens pooled, losses: right in any style, wrong by name."""

import pytest
import torch

from eyeline.doctor import check


def split_by_slices(x, num_heads):
    return torch.stack(x.chunk(num_heads, dim=-1), 1)


def split_as_it_lies(x, num_heads):
    return x.reshape(x.shape[0], num_heads, x.shape[1], -1)


def merge_by_joining(x):
    return torch.cat(list(x.unbind(1)), -1)


def merge_without_swapping(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


def pool_by_loops(x, mask):
    return torch.stack([row[keep.bool()].mean(0) for row, keep in zip(x, mask, strict=True)])


def pool_by_padding(x, padding):
    keep = (~padding)[..., None].to(x.dtype)
    return (x * keep).sum(1) / keep.sum(1)


def pool_everything(x, mask):
    return x.mean(1)


def loss_of_next(x, ids):
    return torch.nn.functional.cross_entropy(x[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def loss_without_padding(x, ids, pad_id):
    ahead, labels = x[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(ahead, labels, ignore_index=pad_id)


def loss_unshifted(x, ids):
    return torch.nn.functional.cross_entropy(x.flatten(0, 1), ids.flatten())


@pytest.mark.parametrize(
    ("candidate", "kind"),
    [
        (split_by_slices, "split heads"),
        (merge_by_joining, "merge heads"),
        (pool_by_loops, "mean pooling"),
        (pool_by_padding, "mean pooling"),
        (loss_of_next, "next-token loss"),
        (loss_without_padding, "next-token loss"),
    ],
)
def test_right_in_any_style(candidate, kind):
    found = check(candidate, what=kind)
    assert found.ok, found


@pytest.mark.parametrize(
    ("candidate", "kind"),
    [
        (split_as_it_lies, "split heads"),
        (merge_without_swapping, "merge heads"),
        (pool_everything, "mean pooling"),
        (loss_unshifted, "next-token loss"),
    ],
)
def test_wrong_by_name(candidate, kind):
    found = check(candidate, what=kind)
    assert not found.ok and len(found.mistakes) == 1, found
