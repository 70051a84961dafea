"""Neighbouring numbers make a head, as torch's own module cuts them."""

import torch

from eyeline.doctor.catalogue import SPLIT_HEADS


def test_a_head_holds_neighbours_of_one_token():
    x = torch.arange(2 * 5 * 12.0).view(2, 5, 12)
    heads = SPLIT_HEADS.run({"x": x, "num_heads": 3}).heads
    assert heads.shape == (2, 3, 5, 4)
    for head in range(3):
        assert torch.equal(heads[1, head, 4], x[1, 4, 4 * head : 4 * head + 4])


def test_every_mistake_mixes_what_belongs_together():
    inputs = {"x": torch.randn(2, 5, 12), "num_heads": 3}
    right = SPLIT_HEADS.run(inputs).heads
    for variant in SPLIT_HEADS.singles():
        wrong = SPLIT_HEADS.run(inputs, variant.steps).heads
        assert wrong.shape == right.shape and not torch.equal(wrong, right), variant.names
