import pytest

from eyeline._errors import CheckpointError
from eyeline.models import _json


def test_an_object(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, {"b": null}], "ü": "x"}', encoding="utf-8")
    assert _json.read_object(path) == {"a": [1, {"b": None}], "ü": "x"}


def test_the_error_is_of_that_file(tmp_path):
    for content, said in (
        (b"{", "JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands there twice"),
        (b"[1]", "found list"),
        (b"\xff", "JSON"),
        (b"{" + b'"a":[],' * 70_000 + b'"b":1}', r"marks '\['"),
    ):
        path = tmp_path / "a.json"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=said) as error:
            _json.read_object(path)
        assert error.value.path == path
    with pytest.raises(CheckpointError, match="No such file"):
        _json.read_object(tmp_path / "none.json")


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(_json, "MAX_BYTES", 10)
    (tmp_path / "a.json").write_text('{"a": "0123456789"}')
    with pytest.raises(CheckpointError, match="at most 10 bytes"):
        _json.read_object(tmp_path / "a.json")
