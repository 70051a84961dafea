"""The assertion for test suites."""

import pytest
import torch.nn.functional as F

import eyeline
from eyeline.doctor import forge
from eyeline.testing import assert_attention


def test_right_passes_and_gives_the_diagnosis():
    assert assert_attention(F.scaled_dot_product_attention).ok


def test_wrong_fails_with_the_diagnosis():
    with pytest.raises(AssertionError) as error:
        assert_attention(forge("softmax", "sum over everything"), "softmax")
    assert "sum over everything" in str(error.value) and "expected" in str(error.value)


def test_what_cannot_be_checked_is_no_failure_of_the_candidate():
    with pytest.raises(eyeline.EyelineError):
        assert_attention(3)
