import hashlib

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from eyeline.models._tensor_file import write_float32


def test_the_library_reads_what_is_written(tmp_path):
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(5, dtype=np.float32)}
    tensors["transposed"] = np.arange(6, dtype=np.float32).reshape(2, 3).T
    path = tmp_path / "x.safetensors"
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    digest = write_float32(path, shapes, tensors.values())
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(loaded[name], tensor)
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_missing_tensor_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        write_float32(tmp_path / "x", {"a": (1,), "b": (1,)}, [np.ones(1, dtype=np.float32)])
