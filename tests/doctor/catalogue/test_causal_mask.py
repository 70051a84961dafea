"""Who may look back, with fewer queries than keys too."""

import torch

from eyeline import masks
from eyeline._types import Tile
from eyeline.doctor.catalogue import CAUSAL_MASK


def test_right_is_eyelines_rule():
    for q_len, kv_len, offset in ((5, 5, 0), (3, 7, 4), (3, 7, 0)):
        seen = CAUSAL_MASK.run({"q_len": q_len, "kv_len": kv_len, "offset": offset}).seen
        whole = Tile(slice(0, 1), slice(0, 1), slice(0, q_len), slice(0, kv_len))
        assert torch.equal(seen.bool(), masks.causal(offset).tile(whole)[0, 0])


def test_every_mistake_shows_somewhere():
    cases = [{"q_len": q, "kv_len": k, "offset": k - q} for q, k in ((5, 5), (3, 7))]
    for variant in CAUSAL_MASK.singles():
        assert any(
            not torch.equal(CAUSAL_MASK.run(c).seen, CAUSAL_MASK.run(c, variant.steps).seen)
            for c in cases
        ), variant.names
