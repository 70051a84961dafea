"""The answer in what a candidate returned, or a sentence about what is there instead."""

from types import SimpleNamespace

import pytest
import torch

from eyeline.doctor._attempt import Unusable
from eyeline.doctor._convention import arrays_in, pick

AXES = [("batch", 2), ("queries", 5), ("width", 4)]


def test_it_is_found_in_tuples_dictionaries_and_objects():
    answer, weights = torch.randn(2, 5, 4), torch.randn(2, 5, 5)
    for returned in (
        answer,
        (weights, answer),
        {"weights": weights, "output": answer},
        SimpleNamespace(last_hidden_state=answer, other=None),
    ):
        found, index = pick(returned, [AXES], {})
        assert torch.equal(found, answer) and index == 0


def test_whole_numbers_are_numbers():
    found, _ = pick(torch.ones(2, 5, 4, dtype=torch.int64), [AXES], {})
    assert found.dtype == torch.float64


@pytest.mark.parametrize(
    "returned, words",
    [
        (None, "is there a `return`"),
        ("text", "expected a tensor"),
        (torch.ones(2, 7, 4), "axis 1 should be queries (5) and is 7, which is the number of keys"),
        (torch.ones(2, 5), "2 axes instead of 3"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(returned, words):
    with pytest.raises(Unusable) as caught:
        pick(returned, [AXES], {"keys": 7})
    assert words in caught.value.problem.message


def test_where_an_array_stands_is_known():
    assert [where for where, _ in arrays_in((torch.ones(1), torch.ones(2)))] == ["[0]", "[1]"]
