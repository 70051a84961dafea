"""Functions that make masks: every form of a right one is right, mistakes are named."""

import pytest
import torch

from eyeline.doctor import check

INF = float("inf")


def allowed(length):
    return torch.ones(length, length, dtype=torch.bool).tril()


def forbidden(length):
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def added(length):
    return torch.zeros(length, length).masked_fill(forbidden(length), -INF)


def one_or_zero(length):
    return torch.tril(torch.ones(1, 1, length, length))


def newest_last(q_len, kv_len):
    return torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len)


@pytest.mark.parametrize("candidate", [allowed, forbidden, added, one_or_zero, newest_last])
def test_every_form_of_a_causal_mask_is_right(candidate):
    assert check(candidate, what="causal mask").ok


@pytest.mark.parametrize(
    ("candidate", "mistake"),
    [
        (forbidden, "inverted"),
        (lambda length: allowed(length).tril(-1), "the token itself hidden"),
        (lambda length: allowed(length).T, "transposed"),
    ],
)
def test_a_causal_mistake_is_named(candidate, mistake):
    found = check(candidate, what="causal mask", mask="attend")
    assert not found.ok and [one.name for one in found.mistakes] == [mistake]


def test_where_the_form_is_not_stated_both_readings_are_told():
    found = check(lambda length: allowed(length).tril(-1), what="causal mask")
    assert not found.ok and "the token itself hidden or transposed" in str(found)


@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        (lambda length: allowed(length) * 0.5, "expected True and False, 1 and 0, or 0 and -inf"),
        (lambda length: added(length) + 0.5 * (length > 2), "this one holds 0.5"),
    ],
)
def test_numbers_that_are_no_mask(spoiled, told):
    found = check(spoiled, what="causal mask")
    assert not found.ok and told in str(found)


def test_a_very_negative_number_is_as_good_as_infinity():
    assert check(lambda length: added(length).clamp(min=-1e4), what="causal mask").ok


def from_lengths(lengths, length):
    return torch.arange(length) < lengths[:, None]


def from_ids(ids, pad_id):
    return (ids != pad_id)[:, None, None, :]


def padding_is_true(lengths, length):
    return torch.arange(length) >= lengths[:, None]


@pytest.mark.parametrize("candidate", [from_lengths, from_ids, padding_is_true])
def test_every_form_of_a_padding_mask_is_right(candidate):
    assert check(candidate, what="padding mask").ok


def test_one_key_too_many():
    found = check(
        lambda lengths, length: torch.arange(length) <= lengths[:, None], what="padding mask"
    )
    assert not found.ok and found.mistakes
