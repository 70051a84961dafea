"""What config.json may say, and what is refused."""

import dataclasses

import pytest

from eyeline.models._config import ConfigError, Unsupported
from eyeline.models.families import FAMILIES, network_class, read_config
from eyeline.models.gpt2 import GPT2Config

GPT2 = {"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 4}


@pytest.mark.parametrize("kind", FAMILIES)
def test_written_and_read_again(kind):
    config = read_config({"model_type": kind}, ())
    assert network_class(config).__module__ == FAMILIES[kind][0]
    assert type(config).from_json(config.to_json()) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.vocab_size = 3


def test_either_name_will_do():
    config = read_config({"model_type": "gpt2", "hidden_size": 64, "num_hidden_layers": 3}, ())
    assert isinstance(config, GPT2Config) and (config.embed_dim, config.num_layers) == (64, 3)


@pytest.mark.parametrize(
    ("key", "value", "limit"),
    [
        ("n_layer", 0, "from 1 to 1000"),
        ("n_layer", 1001, "from 1 to 1000"),
        ("n_layer", 2.0, "whole number"),
        ("n_layer", "2", "whole number"),
        ("n_layer", True, "whole number"),
        ("n_layer", None, "whole number"),
        ("n_embd", -32, "whole number"),
        ("vocab_size", 10**12, "whole number"),
        ("resid_pdrop", 1.5, "probability"),
        ("resid_pdrop", "half", "probability"),
        ("layer_norm_epsilon", 0, "positive"),
        ("layer_norm_epsilon", float("nan"), "positive"),
        ("layer_norm_epsilon", [1], "positive"),
        ("tie_word_embeddings", 1, "true or false"),
        ("activation_function", 3, "name of a function"),
        ("eos_token_id", "end", "number of a token"),
        ("eos_token_id", [1, "end"], "number of a token"),
    ],
)
def test_a_wrong_value_names_its_key(key, value, limit):
    with pytest.raises(ConfigError, match=limit) as error:
        read_config(GPT2 | {key: value}, ())
    assert error.value.key == key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mamba"}, "architecture 'mamba'"),
        ({"model_type": None}, "architecture None"),
        ({"model_type": ["gpt2"]}, "architecture"),
        ({"activation_function": "xielu"}, "activation 'xielu'"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_what_only_transformers_may_know(change, said):
    with pytest.raises(Unsupported, match=said):
        read_config(GPT2 | change, ())


def test_numbers_of_tokens():
    config = GPT2Config.from_json({"eos_token_id": [7, 8], "pad_token_id": -1, "bos_token_id": 3})
    assert (config.eos_token_id, config.pad_token_id, config.bos_token_id) == ((7, 8), None, 3)


@pytest.mark.parametrize("kind", ["gated-gelu-new", "un-gelu", 3, ""])
def test_wrong_feed_forward(kind):
    with pytest.raises((ConfigError, Unsupported)):
        read_config({"model_type": "t5", "feed_forward_proj": kind}, ())
