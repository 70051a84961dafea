"""Torch, NumPy, JAX and whatever speaks DLPack: to a candidate and back."""

import numpy as np
import pytest
import torch

from eyeline.doctor import check
from eyeline.doctor._arrays import from_library, library_of, to_library, watched


def in_torch(q):
    return torch.softmax(q, -1)


def in_numpy(q):
    return np.exp(q)


def annotated(q: np.ndarray):
    return q


def nested(q):
    def inner():
        return np.exp(q)

    return inner()


@pytest.mark.parametrize(
    "function, library",
    [
        (in_torch, "torch"),
        (in_numpy, "numpy"),
        (annotated, "numpy"),
        (nested, "numpy"),
        (abs, "torch"),
    ],
)
def test_the_library_is_the_one_that_the_source_calls(function, library):
    assert library_of(function) == library


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_there_and_back(library):
    tensor = torch.randn(2, 3, dtype=torch.float64)
    array = to_library(tensor, library)
    back = from_library(array)
    assert back is not None and torch.equal(back, tensor)
    array[0, 0] = 7  # a copy: the questions stay as they are
    assert tensor[0, 0] != 7


class Foreign:
    """An array of another library, that can only be had through DLPack."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def test_foreign_arrays_come_through_dlpack():
    def foreign(q, k, v):
        return Foreign(torch.nn.functional.scaled_dot_product_attention(q, k, v))

    assert check(foreign).ok


def test_jax():
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    def attention(q, k, v, mask=None):
        scores = q @ jnp.swapaxes(k, -1, -2) / jnp.sqrt(q.shape[-1])
        if mask is not None:
            scores = jnp.where(mask, scores, -1e9)
        return jax.nn.softmax(scores, -1) @ v

    assert check(attention).ok and check(jax.jit(attention)).ok
    assert check(lambda q, k, v: jnp.matmul(jax.nn.softmax(q @ k.swapaxes(-1, -2), -1), v)).name


def test_what_is_no_array():
    assert from_library("text") is None and from_library(None) is None
    assert from_library(np.array(["a"])) is None


def test_changes_are_seen():
    with watched() as given:
        array = to_library(torch.zeros(3), "torch")
        array += 1
    ((handed_out, before),) = given
    assert handed_out is array and torch.equal(before, torch.zeros(3))
