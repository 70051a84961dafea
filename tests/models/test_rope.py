"""Rotary positions in config.json; test_llama.py has every kind against transformers."""

import pytest

from eyeline.models._config import ConfigError, Unsupported
from eyeline.models._rope import read_rope, write_rope
from eyeline.models.families import read_config
from eyeline.nn.rotary import Stretch

STRETCHES = [
    Stretch(original_length=64),
    Stretch("linear", factor=2.0, original_length=64),
    Stretch("dynamic", factor=2.0, original_length=64),
    Stretch("yarn", factor=4.0, original_length=16, beta_fast=20.0, mscale=0.5, truncate=False),
    Stretch("llama3", factor=8.0, original_length=16, low_freq_factor=2.0, high_freq_factor=3.0),
    Stretch(
        "longrope",
        factor=4.0,
        original_length=16,
        attention_factor=1.5,
        short_factor=(1.0, 2.0),
        long_factor=(3.0, 4.0),
    ),
]


@pytest.mark.parametrize("stretch", STRETCHES, ids=lambda s: s.kind)
def test_written_and_read_again(stretch):
    content = write_rope(500.0, stretch) | {"max_position_embeddings": 64}
    assert read_rope(content) == (500.0, stretch)


def test_nothing_said_is_the_papers():
    assert read_rope({}) == (10000.0, Stretch())
    assert read_rope({"rope_theta": 5e5, "rope_scaling": None})[0] == 5e5


def test_factors_of_each_pair_are_not_for_config_json():
    with pytest.raises(Unsupported, match="a divisor for each pair"):
        write_rope(1e4, Stretch(divisors=(1.0,)))


@pytest.mark.parametrize(
    ("rope", "said"),
    [
        ({"rope_type": "linear"}, "factor"),
        ({"rope_type": "linear", "factor": -1}, "positive"),
        ({"rope_type": "linear", "factor": "2"}, "positive"),
        ({"rope_type": "llama3", "factor": 2.0}, "low_freq_factor"),
        ({"rope_type": "longrope", "short_factor": 3, "long_factor": [1.0]}, "list of numbers"),
        ({"rope_type": "default", "rope_theta": 0}, "positive"),
        ({"rope_type": "yarn", "original_max_position_embeddings": "long"}, "a length"),
        ([1], "an object"),
    ],
)
def test_wrong_rotary_positions(rope, said):
    with pytest.raises(ConfigError, match=said):
        read_config({"model_type": "llama", "rope_parameters": rope}, ())


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_type": "proportional"}},
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
    ],
)
def test_unknown_rotary_positions(change):
    with pytest.raises(Unsupported):
        read_config({"model_type": "llama"} | change, ())
