"""The shared checks alone; through `attention` they are tested in test_functional."""

import pytest
import torch

from eyeline._checks import check_groups, check_inputs

T = torch.zeros


@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 6), (6, 3), (6, 2), (6, 1), (0, 1)])
def test_groups_that_divide(heads, kv_heads):
    query, key = T(1, heads, 3, 4), T(1, kv_heads, 3, 4)
    check_groups(query, key, key)
    check_inputs(query, key, key, enable_gqa=True)


@pytest.mark.parametrize("kv_heads", [4, 5, 12, 0])
def test_groups_that_do_not(kv_heads):
    with pytest.raises(ValueError, match=rf"key has {kv_heads} heads.* divide query's 6"):
        check_groups(T(1, 6, 3, 4), T(1, kv_heads, 3, 4), T(1, 6, 3, 4))
    with pytest.raises(ValueError, match=rf"value has {kv_heads} heads.* divide query's 6"):
        check_groups(T(1, 6, 3, 4), T(1, 6, 3, 4), T(1, kv_heads, 3, 4))


def test_the_value_may_be_wider_and_lengths_may_differ():
    check_inputs(T(3, 4), T(5, 4), T(5, 9), enable_gqa=False)


def test_the_first_problem_is_named_first():
    with pytest.raises(TypeError, match=r"query must be floating point, got torch\.int64"):
        check_inputs(T(3, 4).long(), T(5, 4).long(), T(5, 9), enable_gqa=False)
