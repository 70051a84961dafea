"""Good files; the bad ones stand in test_malformed.py."""

import pytest
import safetensors.torch
import torch

from eyeline.models._safetensors_file import NOT_REAL, SafetensorsFile

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_as_the_library_reads_it(name, tmp_path):
    path = tmp_path / "one.safetensors"
    tensor = torch.randint(0, 2, (3, 5)).to(DTYPES[name])
    safetensors.torch.save_file({"a": tensor}, path)
    file = SafetensorsFile(path)
    assert file.entries["a"].dtype == name and file.entries["a"].shape == (3, 5)
    found = file.read("a")
    assert found.dtype == tensor.dtype
    assert torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))
    assert (name in NOT_REAL) is not (name in ("F64", "F32", "F16", "BF16"))


def test_many_shapes(tmp_path):
    path = tmp_path / "many.safetensors"
    tensors = {
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0),
        "another, empty": torch.empty(4, 0, 2),
        "deep": torch.randn(1, 2, 1, 2, 1, 2, 1, 2),
        "half": torch.randn(3).half(),
        "Ünïcode": torch.randn(2),
        "": torch.randn(1),
    }
    safetensors.torch.save_file(tensors, path, {"format": "pt", "note": "any text [{,}] at all"})
    file = SafetensorsFile(path)
    assert file.entries.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(file.read(name), tensor)


def test_no_tensors_at_all(tmp_path):
    safetensors.torch.save_file({}, tmp_path / "none.safetensors")
    assert SafetensorsFile(tmp_path / "none.safetensors").entries == {}
