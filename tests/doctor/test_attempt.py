"""Foreign code runs here: whatever it does, a sentence comes back and nothing else has changed."""

import warnings

import pytest
import torch

from eyeline.doctor._attempt import NeedsDevice, attempt, describe


def test_an_error_names_its_line():
    def wrong():
        raise ValueError("no such\nthing")

    answer = attempt(wrong)
    assert answer.value is None and answer.problem is not None and answer.problem.kind == "raises"
    message = answer.problem.message
    assert "ValueError: no such" in message and "\n" not in message and "in wrong" in message


def test_a_gpu_that_is_not_here_ends_the_check():
    def wants_gpu():
        raise RuntimeError("Found no NVIDIA driver on your system")

    with pytest.raises(NeedsDevice, match=r"device=query\.device"):
        attempt(wants_gpu)


def test_dtype_generator_and_gradients_are_as_before():
    torch.manual_seed(3)
    before = torch.get_rng_state()

    def careless():
        torch.manual_seed(9)
        assert torch.zeros(1).dtype == torch.float64 and not torch.is_grad_enabled()
        torch.set_default_dtype(torch.float16)
        return torch.rand(2)

    assert attempt(careless).value is not None
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_warnings_are_kept_for_the_diagnosis():
    def loud():
        warnings.warn("careful", stacklevel=1)
        return torch.zeros(1)

    assert attempt(loud).warned == ["careful"]


def test_what_is_printed_is_counted_and_not_shown(capsys):
    def talks():
        for _ in range(1000):
            print("x" * 999)
        return torch.zeros(1)

    count, beginning = attempt(talks).printed
    assert count == 1_000_000 and beginning == "x" * 200
    assert capsys.readouterr() == ("", "")


def test_things_in_words():
    assert describe(torch.ones(2, 3)) == "a tensor [2, 3]"
    assert describe((1, 2)) == "a tuple of 2" and describe("x").startswith("str ")
