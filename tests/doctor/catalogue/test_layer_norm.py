"""torch judges what is called right."""

import torch

from eyeline.doctor.catalogue import LAYER_NORM


def inputs(eps=1e-5):
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    weight, bias = torch.randn(2, 6, dtype=torch.float64)
    return {"x": x, "weight": weight, "bias": bias, "eps": eps}


def test_right_is_torchs():
    given = inputs()
    right = torch.nn.functional.layer_norm(
        given["x"], (6,), given["weight"], given["bias"], given["eps"]
    )
    torch.testing.assert_close(LAYER_NORM.run(given).normed, right)


def test_a_large_eps_counts():
    given = inputs()
    assert not torch.allclose(
        LAYER_NORM.run(given | {"eps": 1.0}).normed, LAYER_NORM.run(given).normed
    )


def test_every_mistake_is_another_number_somewhere():
    given = inputs(0.1)
    right = LAYER_NORM.run(given).normed
    for variant in LAYER_NORM.singles():
        wrong = LAYER_NORM.run(given, variant.steps).normed
        assert not torch.allclose(wrong, right, equal_nan=False), variant.names
