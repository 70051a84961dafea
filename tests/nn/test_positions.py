import math

import pytest
import torch

from eyeline.nn import LearnedPositions, SinusoidalPositions


def test_sines_and_cosines():
    vectors = SinusoidalPositions(6)(torch.tensor([[0, 9]]))
    assert vectors.shape == (1, 2, 6)
    for i in range(3):
        angle = 9 / 10000 ** (2 * i / 6)
        assert vectors[0, 1, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert vectors[0, 1, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    with pytest.raises(ValueError, match="embed_dim 5 is odd"):
        SinusoidalPositions(5)


def test_learned():
    positions = LearnedPositions(4, 6)
    assert torch.equal(positions(torch.tensor([3, 0])), positions.weight[[3, 0]])
    assert positions(torch.tensor([], dtype=torch.long)).shape == (0, 6)
    with pytest.raises(ValueError, match="position 4 has no vector: this model reads 4 tokens"):
        positions(torch.arange(5))
