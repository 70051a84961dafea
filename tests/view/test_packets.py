"""What goes into a packet comes out of it."""

import numpy as np
import pytest
import torch

from eyeline.view.packets import pack, shades8, unpack, weights16


def test_round_trip():
    arrays = {
        "a": np.arange(7, dtype=np.uint8),
        "b": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "c": np.zeros((0, 4), dtype=np.float32),
        "d": np.array([-1.5, np.nan, np.inf], dtype=np.float32),
    }
    head, found = unpack(pack({"text": "☃ </script>", "n": 3}, arrays))
    assert head == {"text": "☃ </script>", "n": 3}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_tensors_and_strides():
    tensor = torch.arange(12, dtype=torch.float32).reshape(3, 4).T
    np.testing.assert_array_equal(unpack(pack({}, {"t": tensor}))[1]["t"], tensor.numpy())


def test_arrays_begin_at_multiples_of_eight():
    packet = pack({"x": "abc"}, {"a": np.ones(3, np.uint8), "b": np.ones(3, np.float32)})
    assert len(packet) % 8 == 0


def test_no_wide_numbers_and_no_nan_in_the_head():
    with pytest.raises(TypeError, match="float64"):
        pack({}, {"a": np.zeros(3)})
    with pytest.raises(ValueError):
        pack({"a": float("nan")})


def test_weights_keep_five_digits():
    weights = torch.rand(1000, dtype=torch.float64)
    back = weights16(weights).astype(np.float64) / 65534
    assert np.abs(back - weights.numpy()).max() < 8e-6
    assert weights16(torch.tensor([0.0, 1.0, float("nan")])).tolist() == [0, 65534, 65535]


def test_shades_keep_small_weights_apart_from_masked_ones():
    weights = torch.tensor([0.0, 1e-4, 1.0, 0.5])
    live = torch.tensor([True, True, True, False])
    assert shades8(weights, live).tolist() == [1, 4, 255, 0]
