import pytest

from eyeline.train import Settings
from eyeline.train.schedule import learning_rate


def test_up_a_line_and_down_a_cosine():
    settings = Settings(steps=110, learning_rate=2.0, warmup=10, last_rate=0.1)
    rates = [learning_rate(step, settings) for step in range(111)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == pytest.approx(2.0) == rates[10]
    assert rates[60] == pytest.approx((2.0 + 0.2) / 2) and rates[110] == pytest.approx(0.2)
    assert sorted(rates[10:], reverse=True) == rates[10:]
