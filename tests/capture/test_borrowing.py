"""Configs are borrowed, by several at a time, and given back as they were."""

from types import SimpleNamespace

import pytest

from eyeline.capture import borrowing
from eyeline.capture.borrowing import NAME, borrowed


def test_the_last_to_leave_gives_it_back():
    config = SimpleNamespace(_attn_implementation_internal="sdpa")
    with borrowed([config]):
        config._attn_implementation_internal = NAME
        with borrowed([config]):
            assert config._attn_implementation_internal == NAME
        assert config._attn_implementation_internal == NAME
    assert config._attn_implementation_internal == "sdpa"
    assert not borrowing._borrowed


def test_also_after_an_exception():
    config = SimpleNamespace(_attn_implementation_internal=None)
    with pytest.raises(ZeroDivisionError), borrowed([config]):
        config._attn_implementation_internal = NAME
        raise ZeroDivisionError
    assert config._attn_implementation_internal is None
    assert not borrowing._borrowed


def test_in_any_order():
    first, second = (SimpleNamespace(_attn_implementation_internal=n) for n in ("eager", "sdpa"))
    one, two = borrowed([first, second]), borrowed([second])
    one.__enter__()
    two.__enter__()
    first._attn_implementation_internal = second._attn_implementation_internal = NAME
    one.__exit__(None, None, None)
    assert first._attn_implementation_internal == "eager"
    assert second._attn_implementation_internal == NAME, "somebody still has it"
    two.__exit__(None, None, None)
    assert second._attn_implementation_internal == "sdpa"
    assert not borrowing._borrowed


def test_the_name_is_none_that_transformers_treats_specially():
    assert not any(word in NAME for word in ("flash", "sdpa", "flex", "paged", "eager"))
