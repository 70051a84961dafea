"""Real tokens, counted."""

import torch

from eyeline.doctor.catalogue import PADDING_MASK


def test_as_many_as_the_length_says():
    lengths = torch.tensor([3, 5, 0])
    seen = PADDING_MASK.run({"lengths": lengths, "kv_len": 5, "batch": 3}).seen
    assert torch.equal(seen.sum(1).long(), lengths)
    assert seen[0].tolist() == [1, 1, 1, 0, 0]
