"""Beam search against all texts there are, on a network small enough to try them all."""

from itertools import product

import pytest
import torch

import _tiny_models as tiny
from eyeline.models._beams import beam_search
from eyeline.models.gpt2 import GPT2, GPT2Config

END = 3


@pytest.fixture(scope="module")
def network():
    config = GPT2Config(vocab_size=4, max_length=16, embed_dim=8, num_layers=1, num_heads=2)
    return tiny.with_fixed_weights(lambda: GPT2(config))


def score(network, prompt, text, penalty):
    with torch.no_grad():
        logs = network(torch.tensor([[*prompt, *text]]))[0].log_softmax(-1)
    total = sum(float(logs[len(prompt) + n - 1, token]) for n, token in enumerate(text))
    return total / len(text) ** penalty


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_with_enough_beams_it_finds_the_best_of_all(network, penalty):
    prompt, most = [1, 2], 3
    every = []
    for length in range(1, most + 1):
        for text in product(range(4), repeat=length):
            ends = [n for n, token in enumerate(text) if token == END]
            if ends == [length - 1] or (not ends and length == most):
                every.append(list(text))
    best = max(every, key=lambda text: score(network, prompt, text, penalty))
    found = beam_search(network, prompt, most, None, [END], 48, penalty)
    assert score(network, prompt, found, penalty) == pytest.approx(
        score(network, prompt, best, penalty), abs=1e-5
    )


def test_nothing_is_wanted(network):
    assert beam_search(network, [1], 0, None, [END], 2, 1.0) == []
