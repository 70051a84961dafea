"""What may be stated, and one line for what may not."""

import pytest

from eyeline import EyelineError
from eyeline.doctor.options import Options


@pytest.mark.parametrize(
    "stated, words",
    [
        ({"layout": "HBLD"}, "layout='HBLD' is not known; choose one of 'BHLD'"),
        ({"mask": "yes"}, "'attend', 'ignore', 'ones', 'add'"),
        ({"causal": "sideways"}, "'top-left', 'bottom-right'"),
        ({"adapter": 3}, "adapter is a function"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(stated, words):
    with pytest.raises(EyelineError) as caught:
        Options(**stated)
    assert words in str(caught.value)


def test_what_means_nothing_for_a_kind_is_refused():
    Options(layout="BLD").only("attention", {"layout"})
    with pytest.raises(EyelineError, match=r"pairing= means nothing for softmax; .* arrays"):
        Options(pairing="halves").only("softmax", {"arrays"})
