"""Which patterns may be run; tests/models/test_malformed.py has the files."""

import pytest

from eyeline.models._gguf_tokenizer import _LLAMA3
from eyeline.models._tokenizer_rules import _may_explode

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    "pattern",
    [GPT2, _LLAMA3, O200K, r"\p{N}{1,3}", r"(ab)+c*", r"[(a+)+]", r"\(a+\)+", r"(a{2,3})+"],
)
def test_patterns_of_real_tokenizers_may_run(pattern):
    assert not _may_explode(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+",
        r"(a*)*",
        r"((a+))+",
        r"(?:a+|b)*",
        r"(a{2,})+",
        r"(x(a+)y)*",
        r"([a-z]+)*$",
        r"(\w+)+",
    ],
)
def test_a_loop_in_a_loop_may_not(pattern):
    assert _may_explode(pattern)
