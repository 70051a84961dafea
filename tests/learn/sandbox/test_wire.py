"""What crosses over, and that nothing else does."""

import os
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeline.learn.sandbox.calls import Call, Opaque
from eyeline.learn.sandbox.wire import WireError, decode, encode

plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text() | st.floats()
data = st.recursive(
    plain, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=8
)


@settings(max_examples=50)
@given(data)
def test_plain_data_comes_back(value):
    assert repr(decode(encode(value))) == repr(value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_come_back(dtype):
    x = torch.tensor([[0, 1, 1]]).to(dtype).expand(2, 3)
    back = decode(encode({"x": [x, x.T]}))["x"]
    assert torch.equal(back[0], x) and torch.equal(back[1], x.T) and back[0].dtype == dtype


def test_calls_come_as_data():
    call = decode(encode(Call("f", (1,), {"k": 2}, grad=True)))
    assert call == {"function": "f", "args": (1,), "kwargs": {"k": 2}, "grad": True}


def test_what_cannot_cross_over_leaves_its_name():
    deep = []
    for _ in range(100):
        deep = [deep]
    assert decode(encode(object())) == Opaque("object")
    assert decode(encode({1: 2})) == Opaque("dict")
    assert "nested" in repr(decode(encode(deep)))
    assert decode(encode(torch.ones(2).to_sparse())) == Opaque("Tensor")


@given(st.binary(max_size=200))
def test_garbage_is_no_frame(noise):
    with pytest.raises(WireError):
        decode(noise)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_damaged_frames_are_refused_or_harmless(where, noise):
    frame = bytearray(encode({"a": [torch.arange(6.0), 1, "x"]}))
    where %= len(frame)
    frame[where : where + len(noise)] = noise
    try:
        decode(bytes(frame))
    except WireError:
        pass


def test_a_pickle_is_no_frame():
    class Evil:
        def __reduce__(self):
            return os.system, ("touch /tmp/evil",)

    import pickle

    body = pickle.dumps(Evil())
    with pytest.raises(WireError):
        decode(struct.pack("<QQ", len(body), 0) + body)
