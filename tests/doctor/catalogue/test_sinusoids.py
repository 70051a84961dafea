"""eyeline.nn's positions judge what is called right."""

import torch

from eyeline.doctor.catalogue import SINUSOIDS


def test_right_is_the_papers_formula():
    made = SINUSOIDS.run({"length": 7, "embed_dim": 8, "base": 10000.0, "pairing": "interleaved"})
    for place, i in ((0, 0), (3, 1), (6, 3)):
        angle = torch.tensor(place / 10000 ** (2 * i / 8), dtype=torch.float64)
        torch.testing.assert_close(made.encoding[place, 2 * i], angle.sin())
        torch.testing.assert_close(made.encoding[place, 2 * i + 1], angle.cos())


def test_halves_are_the_same_numbers_elsewhere():
    given = {"length": 7, "embed_dim": 8, "base": 10000.0}
    one = SINUSOIDS.run(given | {"pairing": "interleaved"}).encoding
    other = SINUSOIDS.run(given | {"pairing": "halves"}).encoding
    assert torch.equal(other, torch.cat([one[:, ::2], one[:, 1::2]], 1))
