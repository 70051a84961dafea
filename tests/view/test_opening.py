"""A text, a file, or standard input."""

import io

import pytest

from eyeline._errors import EyelineError
from eyeline.view.opening import text_or_file


def test_a_text_is_itself():
    for text in ("the cat", "a.b", "The file paper.txt is here", "x" * 5000, "a\0b"):
        assert text_or_file(text, io.StringIO()) == text


def test_a_file_is_its_content(tmp_path):
    path = tmp_path / "paper.txt"
    path.write_text("\ufeffthe cat\r\nsat ☃", encoding="utf-8")
    assert text_or_file(str(path), io.StringIO()) == "the cat\nsat ☃"


def test_standard_input():
    assert text_or_file("-", io.StringIO("the cat")) == "the cat"


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(EyelineError, match="there is no file"):
        text_or_file(str(tmp_path / "no.txt"), io.StringIO())
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    with pytest.raises(EyelineError, match=r"UTF-8: byte 3 is 0xff"):
        text_or_file(str(tmp_path / "a.txt"), io.StringIO())
