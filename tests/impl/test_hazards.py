"""When special care is taken, and where. The contract itself: test_special_values."""

import math

import pytest
import torch

from eyeline.impl._hazards import find_hazards
from eyeline.impl._problem import Problem


def problem(**changes):
    tensors = {name: torch.ones(1, 2, 3, 4) for name in ("query", "key", "value")}
    for name, (place, number) in changes.items():
        if name in tensors:
            tensors[name][0, 1, place, 2] = number
    return Problem(**tensors, scale=changes.get("scale", (0, 0.5))[1])


def test_ordinary_inputs_pass_through():
    one = problem()
    assert find_hazards(one) == (one, None)
    assert find_hazards(problem(key=(1, 1e18)))[1] is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_zeroed_and_remembered(number):
    one = problem(query=(0, number), key=(1, number), value=(2, number))
    clean, hazards = find_hazards(one)
    assert hazards.bad_query.tolist() == [[[False] * 3, [True, False, False]]]
    assert hazards.bad_key.tolist() == [[[False] * 3, [False, True, True]]]
    for tensor in (clean.query, clean.key, clean.value):
        assert torch.isfinite(tensor).all() and int((tensor == 0).sum()) == 1
    assert not torch.isfinite(one.query).all()  # the caller's own stays
    without_value = find_hazards(one, use_value=False)[1]
    assert without_value.bad_key.tolist() == [[[False] * 3, [False, True, False]]]


def test_large_numbers_call_for_care_before_they_overflow():
    for change in ({"key": (0, 1e38)}, {"query": (0, 3e38)}, {"value": (0, 3e38)}):
        _, hazards = find_hazards(problem(**change))
        assert hazards is not None and not hazards.bad_key.any() and not hazards.bad_query.any()
    assert find_hazards(problem(value=(0, 1e30)), torch.full((1, 2, 3, 4), 1e10))[1] is not None
    _, hazards = find_hazards(problem(scale=(0, math.nan)))
    assert hazards.bad_query.all()


def test_zeroing_is_invisible_to_gradients():
    query = torch.tensor([[[[1.0, math.nan]]]], requires_grad=True)
    clean, _ = find_hazards(Problem(query, query, query, scale=1.0))
    (gradient,) = torch.autograd.grad(clean.query.sum(), query)
    assert gradient.tolist() == [[[[1.0, 1.0]]]]
