"""Same is same; NaN, infinity, shapes and types are not let through."""

import pytest
import torch

from eyeline.learn.comparing import same, where_differs
from eyeline.learn.sandbox import Opaque

X = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
INF = float("inf")


@pytest.mark.parametrize(
    ("got", "expected", "answer"),
    [
        (X, X, True),
        (X + 1e-7, X, True),
        (X + 1e-3, X, False),
        (X.float(), X, True),
        (X[None], X, False),
        (X[:, :1], X, False),
        (X[:0], X[:0], True),
        (X[:0], X, False),
        (X * float("nan"), X, False),
        (X, X * float("nan"), False),
        (X * INF, X * INF, True),
        (X, X * INF, False),
        (X * INF, X, False),
        (-X * INF, X * INF, False),
        (X > 2, X > 2, True),
        (X > 2, X > 1, False),
        ((X > 2).long(), X > 2, True),
        ((X > 2).double(), X > 2, False),
        (X.tolist(), X, False),
        (None, X, False),
        (Opaque("x"), X, False),
        ((X, X), (X, X), True),
        ((X,), (X, X), False),
        ({"a": X}, {"a": X}, True),
        ({"b": X}, {"a": X}, False),
        (2.0, 2.0, True),
        (2, 2.0, True),
        (True, 1.0, False),
        (2, 3, False),
        ("a", "a", True),
    ],
)
def test_same(got, expected, answer):
    assert same(got, expected) is answer
    assert (where_differs(got, expected, ("row", "column")) is None) is answer


def test_to_the_bit():
    assert same(X, X.clone(), exact=True) and not same(X + 1e-12, X, exact=True)


def test_words():
    found = where_differs(X + torch.tensor([[0.0, 1], [0, 0]]), X, ("row", "column"))
    assert found.summary == "position [0, 1] (row 0, column 1) is 3, expected 2"
    assert found.evidence == ("1 of 4 numbers differ.",)
    assert "swapped" in where_differs(torch.ones(3, 2), torch.ones(2, 3), ()).question
    assert "reshape" in where_differs(torch.ones(6), torch.ones(2, 3), ()).question
    assert "result 1: position" in where_differs((X, X + 1), (X, X), ()).summary
