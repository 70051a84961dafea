from eyeline.impl._statistics import Pooling, Wants
from eyeline.measuring import Measure


def test_one_number_is_a_square_picture():
    assert Measure(pooled=16).wants().pooled == Pooling(16, 16, reduce="sum")
    assert Measure(pooled=(4, 8), reduce="max").wants().pooled == Pooling(4, 8, reduce="max")


def test_nothing_asked_is_nothing_wanted():
    assert Measure().wants() == Wants() and Measure(rows=(0, -1)).wants() == Wants()
    assert Measure(top_k=3, entropy=True).wants(output=True) == Wants(3, True, False, None, True)
