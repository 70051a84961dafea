"""The wiring of a block, before and behind the norms, with parts that are easy to follow."""

import torch

from eyeline.doctor.catalogue import BLOCK

PARTS = {
    "norm1": lambda x: x / 2,
    "norm2": lambda x: x / 4,
    "attention": lambda x: 3 * x,
    "feed_forward": lambda x: 5 * x,
}


def test_norms_before_the_sublayers():
    x = torch.ones(1)
    made = BLOCK.run(PARTS | {"x": x, "norm_first": True})
    assert made.attended == 1 + 3 * 0.5 and made.output == 2.5 + 5 * 2.5 / 4


def test_norms_behind_the_sums():
    made = BLOCK.run(PARTS | {"x": torch.ones(1), "norm_first": False})
    assert made.attended == (1 + 3) / 2 and made.output == (2 + 10) / 4
