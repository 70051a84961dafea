"""Map files: what comes back, and what a damaged or foreign file says."""

import json

import pytest
import safetensors.torch
import torch

import eyeline
from eyeline import _map_files, masks
from eyeline._errors import EyelineError
from eyeline.biases import Alibi, RelativeBias


def observed(**options):
    q, k = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 9, 8)
    return eyeline.observe(q, k, k, enable_gqa=True, **options)[1]


ALL_MASKS = (
    (masks.causal(3) & masks.padding([9, 5], [0, 2]))
    | ~masks.documents(torch.arange(6) // 3, torch.arange(9) // 4)
    | (masks.keys(torch.arange(9) % 2 == 0) & masks.dense(torch.rand(2, 1, 6, 9) < 0.5))
    | (masks.prefix(2) & masks.sliding_window((2, 1), 1))
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attn_mask": ALL_MASKS},
        {"attn_mask": masks.predicate(lambda b, h, i, j: (b + h + i + j) % 3 > 0)},
        {"bias": Alibi(torch.rand(4), offset=2)},
        {"bias": RelativeBias(torch.randn(8, 4), bidirectional=False, max_distance=9, offset=1)},
        {"attn_mask": torch.randn(6, 9), "bias": torch.randn(4, 1, 9)},
        {"softcap": 3.0, "sinks": torch.randn(4), "scale": 0.3},
    ],
)
def test_round_trip_to_the_bit(tmp_path, options):
    seen = observed(**options)
    seen.save(tmp_path / "a.safetensors")
    loaded = eyeline.AttentionMap.load(str(tmp_path / "a.safetensors"))
    assert torch.equal(loaded.dense(), seen.dense())
    assert torch.equal(loaded.logsumexp, seen.logsumexp)
    assert torch.equal(loaded.problem.value, seen.problem.value)
    if "predicate" not in str(seen.problem.mask):
        assert repr(loaded) == repr(seen)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]  # no temporary file is left


def test_a_file_holds_no_weights(tmp_path):
    seen = observed()
    seen.save(tmp_path / "a")
    stored = safetensors.torch.load_file(tmp_path / "a")
    assert sum(t.numel() for t in stored.values()) * 4 == seen.nbytes


def test_several_maps_and_a_note(tmp_path):
    maps = {n: (m.problem, m.normalizer) for n, m in (("x", observed()), ("y", observed()))}
    _map_files.save(maps, tmp_path / "a", extra={"tokens": ["a", "b"]})
    loaded, extra = _map_files.load_extra(tmp_path / "a")
    assert list(loaded) == ["x", "y"] and extra == {"tokens": ["a", "b"]}
    assert torch.equal(loaded["y"][1].total, maps["y"][1].total)


def _header(path, change):
    """Rewrite the description inside a file that `save` wrote."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    described = json.loads(header["__metadata__"]["maps"])
    change(described["map"], header)
    header["__metadata__"]["maps"] = json.dumps(described)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + size :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item, _: item.pop("query"), "damaged"),
        (lambda item, _: item.update(key="map/nothing"), "damaged"),
        (lambda item, _: item.update(total="map/query"), "damaged.*total is"),
        (lambda item, _: item["mask"].update(rule="Evil"), "damaged"),
        (lambda item, _: item["mask"].update(extra=1), "damaged"),
        (
            lambda item, _: item.update(biases=[{"bias": "os", "tensor": "map/query"}]),
            "unknown bia",
        ),
        (lambda _, header: header["__metadata__"].update(format="other"), "not one that eyeline"),
    ],
)
def test_a_damaged_file_says_so(tmp_path, change, message):
    path = tmp_path / "a"
    observed(attn_mask=masks.padding([9, 4])).save(path)
    _header(path, change)
    with pytest.raises(EyelineError, match=message):
        eyeline.AttentionMap.load(path)


def test_foreign_and_missing_files(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(EyelineError, match="does not exist"):
        eyeline.AttentionMap.load(path)
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(EyelineError, match="damaged or not a file"):
        eyeline.AttentionMap.load(path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(EyelineError, match="not one that eyeline saved"):
        eyeline.AttentionMap.load(path)
    observed().save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EyelineError, match="damaged"):
        eyeline.AttentionMap.load(path)
    with pytest.raises(EyelineError, match="cannot write"):
        observed().save(tmp_path / "no" / "folder" / "a")


def test_a_function_too_large_to_write_out(tmp_path, monkeypatch):
    monkeypatch.setattr(_map_files, "PREDICATE_LIMIT", 10)
    seen = observed(attn_mask=masks.predicate(lambda b, h, i, j: i >= j))
    with pytest.raises(EyelineError, match=r"predicate\(<lambda>\) is a function and too large"):
        seen.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(_map_files.os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _map_files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a"]
