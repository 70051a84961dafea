"""Numbers for JSON: finite ones as they are, null for the others, at any depth."""

import json

import pytest
import torch

from eyeline._plain import plain


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_null(value):
    assert plain(value) is None
    assert plain([1.0, value]) == [1.0, None]
    assert plain(torch.tensor([[0.5, value]])) == [[0.5, None]]
    assert plain((0.5, (value,))) == [0.5, [None]]


@pytest.mark.parametrize("value", [0, 1, -1.5, "NaN", None, True])
def test_everything_else_stays(value):
    assert plain(value) is value


def test_a_tensor_is_a_list_with_all_its_digits():
    exact = torch.tensor([1 / 3, 1e-300], dtype=torch.float64)
    assert plain(exact) == exact.tolist()
    assert plain(torch.tensor(7)) == 7 and plain(torch.zeros(2, 0)) == [[], []]


def test_json_takes_it():
    numbers = torch.tensor([1.0, torch.nan, -torch.inf])
    assert json.dumps(plain(numbers), allow_nan=False) == "[1.0, null, null]"
