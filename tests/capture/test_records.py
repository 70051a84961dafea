"""`Maps` as a mapping over passes, and what a record says of itself."""

import pytest
import torch

import eyeline
from eyeline.capture.records import VECTORS, Maps, Record


def record(name, layer=0, keeps=VECTORS):
    x = torch.randn(1, 2, 3, 4)
    _, seen = eyeline.observe(x, x, x)
    return Record(name, torch.nn.Identity(), "encoder", layer, seen, keeps=keeps)


def test_empty():
    maps = Maps()
    assert len(maps) == 0 and list(maps) == [] and maps.records == {} and maps.passes == []
    with pytest.raises(KeyError, match="none: no forward pass has finished"):
        maps["a"]
    assert repr(maps) == "Maps(0 maps, 0 passes)"


def test_it_shows_the_last_pass_and_remembers_the_others():
    maps, first, last = Maps(), record("a"), record("a")
    maps.record_passes += [{"a": first, "b": record("b")}, {"a": last}]
    assert maps["a"] is last.map and list(maps) == ["a"] and maps.records == {"a": last}
    assert [list(p) for p in maps.passes] == [["a", "b"], ["a"]]
    assert maps.passes[0]["a"] is first.map
    with pytest.raises(KeyError, match="no map is named 'b'; there are: a"):
        maps["b"]


def test_records_are_a_copy():
    maps = Maps()
    maps.record_passes.append({"a": record("a")})
    maps.records.clear()
    assert "a" in maps


def test_a_record_says_where_it_is_from_and_what_it_keeps():
    shown = repr(record("h.3.attn", 3, f"{VECTORS}: it was given a DynamicCache"))
    assert shown.startswith("Record(h.3.attn: encoder layer 3, AttentionMap(1 x 2 heads")
    assert shown.endswith("keeps query, key and value: it was given a DynamicCache)")
    assert record("a").output is None and "keeps query, key and value)" in repr(record("a"))
