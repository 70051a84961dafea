"""Each refusal has its HTTP status and what else the browser is told."""

import pytest

from eyeline import EyelineError
from eyeline.server.refusals import Busy, Cancelled, Gone, Refusal, TooLarge


@pytest.mark.parametrize(
    "kind, status", [(Refusal, 400), (TooLarge, 413), (Busy, 503), (Gone, 404)]
)
def test_status_and_details(kind, status):
    refusal = kind("not now", tokens=7)
    assert (refusal.status, str(refusal), refusal.details) == (status, "not now", {"tokens": 7})
    assert isinstance(refusal, EyelineError)


def test_who_has_gone_is_told_nothing():
    assert not issubclass(Cancelled, EyelineError)
