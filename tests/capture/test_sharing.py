"""Decoding steps share one past, and no step's map sees what came after it."""

import pytest
import torch

import eyeline
from eyeline.capture.sharing import Past


def step(keys, length, dtype=torch.float32):
    """The map of a step that sees the first `length` of these keys."""
    key = keys[:, :, :length].to(dtype).clone()
    query = torch.randn(1, 2, 1, 4, dtype=dtype)
    _, seen = eyeline.observe(query, key, key * 2)
    return seen


def address(tensor):
    return tensor.untyped_storage().data_ptr()


@pytest.fixture
def keys():
    return torch.randn(1, 2, 40, 4)


def test_steps_share_one_storage_and_show_what_they_did(keys):
    past, shown, expected = Past(), [], []
    for length in range(5, 41):
        seen = step(keys, length)
        expected.append(seen.dense())
        shown.append(past.share(seen))
    for length, (seen, weights) in enumerate(zip(shown, expected, strict=True), start=5):
        assert seen.shape[3] == length and torch.equal(seen.dense(), weights)
        assert torch.equal(seen.problem.value, 2 * keys[:, :, :length])
    # room doubles: 36 steps take a handful of storages
    assert len({address(s.problem.key) for s in shown}) <= 5


def test_the_first_map_is_not_copied(keys):
    seen = step(keys, 5)
    assert Past().share(seen) is seen


def test_several_new_rows_at_once(keys):
    past = Past()
    past.share(step(keys, 5))
    shown = past.share(step(keys, 17))
    assert torch.equal(shown.problem.key, keys[:, :, :17])


@pytest.mark.parametrize("change", ["other text", "shorter", "dtype", "batch"])
def test_what_does_not_continue_is_a_past_of_its_own(keys, change):
    past = Past()
    before = past.share(step(keys, 8))
    weights = before.dense()
    other = keys.clone()
    if change == "other text":
        other[:, :, 3] += 1
    elif change == "batch":
        other = other.repeat(2, 1, 1, 1)
    length = 4 if change == "shorter" else 9
    if change == "batch":
        key = other[:, :, :length]
        seen = eyeline.observe(torch.randn(2, 2, 1, 4), key, key)[1]
    else:
        seen = step(other, length, torch.float64 if change == "dtype" else torch.float32)
    expected = seen.dense()
    shown = past.share(seen)
    assert shown is seen and torch.equal(shown.dense(), expected)
    assert torch.equal(before.dense(), weights)


def test_two_branches_from_one_past_do_not_overwrite_each_other(keys):
    past = Past()
    past.share(step(keys, 8))
    first = past.share(step(keys, 9))
    weights = first.dense()
    other = keys.clone()
    other[:, :, 8:] += 1
    past.share(step(other, 10))
    assert torch.equal(first.dense(), weights)


def test_under_inference_mode(keys):
    past = Past()
    lengths = (5, 6, 7)
    with torch.inference_mode():
        shown = [past.share(step(keys, n)) for n in lengths]
    for n, seen in zip(lengths, shown, strict=True):
        assert torch.equal(seen.problem.key, keys[:, :, :n])
