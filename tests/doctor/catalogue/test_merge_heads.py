"""Heads side by side again: the other way of cutting."""

import torch

from eyeline.doctor.catalogue import MERGE_HEADS, SPLIT_HEADS


def test_merging_undoes_splitting():
    x = torch.randn(2, 5, 12)
    heads = SPLIT_HEADS.run({"x": x, "num_heads": 3}).heads
    assert torch.equal(MERGE_HEADS.run({"x": heads}).merged, x)


def test_every_mistake_gives_the_right_shape_and_wrong_numbers():
    x = torch.randn(2, 3, 5, 4)
    right = MERGE_HEADS.run({"x": x}).merged
    for variant in MERGE_HEADS.singles():
        wrong = MERGE_HEADS.run({"x": x}, variant.steps).merged
        assert wrong.shape == right.shape and not torch.equal(wrong, right), variant.names
