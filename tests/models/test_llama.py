"""Llama against transformers', with everything that its config can switch."""

import pytest
import torch
import transformers as hf

import _hf_twin as twin
from eyeline.models.llama import Llama, LlamaConfig
from eyeline.nn import KVCache

OPTIONS = {
    "hidden_size": (32, 48),
    "num_hidden_layers": (1, 2, 3),
    "intermediate_size": (40, 56),
    "num_attention_heads": (4, 8),
    "num_key_value_heads": (None, 1, 2, 4),
    "head_dim": (None, 6, 16),
    "hidden_act": twin.ACTIVATIONS,
    "rms_norm_eps": (1e-6, 1e-3),
    "attention_bias": (False, True),
    "mlp_bias": (False, True),
    "tie_word_embeddings": (False, True),
}
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 500.0},
    "linear": {"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.5},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    "yarn of its own": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 16,
        "attention_factor": 1.3,
        "beta_fast": 20.0,
        "beta_slow": 2.0,
        "truncate": False,
    },
    "yarn, mscale": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 16,
        "mscale": 0.7,
        "mscale_all_dim": 0.9,
    },
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
}


def pair(seed, tmp_path, **fixed):
    options = twin.pick(seed, **OPTIONS) | fixed
    rope = options.pop("rope", twin.pick(seed, rope=tuple(ROPES.values()))["rope"])
    config = hf.LlamaConfig(
        vocab_size=99, max_position_embeddings=64, rope_parameters=dict(rope), **options
    )
    network = twin.theirs(lambda: hf.LlamaForCausalLM(config), seed)
    return network, twin.ours(network, tmp_path / "hf")


@pytest.mark.parametrize("seed", range(10))
def test_equal_to_transformers(seed, tmp_path):
    network, own = pair(seed, tmp_path)
    tokens = twin.tokens(seed, 3, 17)
    theirs = network(tokens, labels=tokens)
    twin.close(own(tokens), theirs.logits)
    loss = own.loss(tokens)
    twin.close(loss, theirs.loss)
    theirs.loss.backward()
    loss.backward()
    twin.same_gradients(network, own)


@pytest.mark.parametrize("length", [12, 90])
@pytest.mark.parametrize("rope", ROPES)
def test_every_kind_of_rotary_positions(rope, length, tmp_path):
    network, own = pair(1, tmp_path, rope=ROPES[rope], hidden_act="silu")
    tokens = twin.tokens(1, 1, length)
    with torch.no_grad():
        twin.close(own(tokens), network(tokens).logits)


@pytest.mark.parametrize("length", [12, 40])
def test_longrope(length, tmp_path):
    rope = {
        "rope_type": "longrope",
        "factor": 4.0,
        "original_max_position_embeddings": 16,
        "short_factor": [1.0, 1.1, 1.2, 1.3],
        "long_factor": [1.0, 2.0, 3.0, 4.0],
    }
    options = {"head_dim": 8, "hidden_act": "silu"}
    network, own = pair(1, tmp_path, rope=rope, **options)
    tokens = twin.tokens(1, 1, length)
    with torch.no_grad():
        twin.close(own(tokens), network(tokens).logits)


def test_rotary_positions_as_they_were_written_before(tmp_path):
    import json

    network, own = pair(2, tmp_path, rope=ROPES["linear"])
    path = tmp_path / "hf" / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = {"type": "linear", "factor": rope["factor"]}
    assert LlamaConfig.from_json(config) == own.config
    assert network.config.rope_parameters["factor"] == own.config.rope_stretch.factor


@pytest.mark.parametrize("seed", range(3))
def test_padding_and_positions(seed, tmp_path):
    network, own = pair(seed, tmp_path)
    tokens = twin.tokens(seed, 3, 12)
    seen, mask = twin.padding([12, 7, 1], 12)
    places = torch.randint(0, 30, (3, 12))
    with torch.no_grad():
        found = own(tokens, attn_mask=mask, positions=places)
        expected = network(tokens, attention_mask=seen, position_ids=places).logits
    twin.close(found[seen.bool()], expected[seen.bool()])


@pytest.mark.parametrize("seed", range(4))
def test_a_cache_changes_nothing(seed, tmp_path):
    _, own = pair(seed, tmp_path, rope=ROPES["llama3"])
    tokens = twin.tokens(seed, 2, 15)
    cache = KVCache(own.config.num_layers)
    with torch.no_grad():
        parts = [own(part, cache=cache) for part in tokens.split([5, 1, 1, 3, 5], 1)]
        twin.close(torch.cat(parts, 1), own(tokens))


@pytest.mark.parametrize("seed", range(6))
def test_saved_by_us_opened_by_transformers(seed, tmp_path):
    _, own = pair(seed, tmp_path)
    again = twin.back(own, tmp_path / "ours", hf.LlamaForCausalLM)
    tokens = twin.tokens(seed, 2, 9)
    with torch.no_grad():
        twin.close(again(tokens).logits, own(tokens))


def test_initialisation():
    config = LlamaConfig(
        vocab_size=99, embed_dim=64, num_layers=1, num_heads=4, hidden_dim=96, attention_bias=True
    )
    network = Llama(config)
    assert network.head.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert network.blocks[0].attention.k_proj.bias.abs().max() == 0
    loss = network.loss(twin.tokens(0, 4, 16))
    assert loss.item() == pytest.approx(4.6, abs=0.1)  # ln 99
