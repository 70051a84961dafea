"""Unknown mistakes are narrowed down to a step, a factor and a shape."""

import math

import torch

from eyeline.doctor import check


def bisection(candidate, **stated):
    diagnosis = check(candidate, **stated)
    assert diagnosis.name == "unknown mistake", str(diagnosis)
    return " ".join(next(s for s in diagnosis.stages if s.name == "bisection").lines)


def test_a_trace_tells_the_first_wrong_step():
    def traced(q, k, v):
        scores = q @ k.mT
        scaled = scores / math.sqrt(q.size(-1))
        weights = torch.softmax(scaled * 1.1, -1)
        return {"scores": scores, "scaled": scaled, "weights": weights, "context": weights @ v}

    text = bisection(traced)
    assert "the first step that is wrong is “weights”" in text
    assert "scores, scaled are right" in text


def test_right_weights_point_at_what_follows():
    def shifted(q, k, v):
        weights = torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), -1)
        return weights @ (v + (v * v) * 0.1 * (v.abs() > 1))

    assert "the weights are right" in bisection(shifted)


def test_rows_that_do_not_sum_to_1():
    def short(q, k, v):
        return 0.9 * torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), -1) @ v

    text = bisection(short)
    assert "do not sum to 1 but to 0.9" in text
    assert "smallest failing shape: batch 1, heads 1, queries 1, keys 1, width 1" in text


def test_a_factor_is_measured():
    def warm(q, k, v):
        return torch.softmax(q @ k.mT * 0.7, -1) @ v

    assert "scores are multiplied by 0.7, expected 0.5" in bisection(warm)
