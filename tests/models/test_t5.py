"""T5 against transformers', with everything that its config can switch."""

import pytest
import torch
import transformers as hf

import _hf_twin as twin
from eyeline.models.t5 import T5, T5Config
from eyeline.nn import KVCache

OPTIONS = {
    "d_model": (32, 48),
    "d_kv": (6, 8, 16),
    "d_ff": (40, 56),
    "num_layers": (1, 2, 3),
    "num_decoder_layers": (None, 1, 3),
    "num_heads": (1, 2, 4),
    "relative_attention_num_buckets": (8, 32),
    "relative_attention_max_distance": (20, 128),
    "layer_norm_epsilon": (1e-6, 1e-3),
    "feed_forward_proj": ("relu", "gelu", "gated-gelu", "gated-silu", "gated-relu", "gelu_new"),
    "tie_word_embeddings": (True, False),
}


def pair(seed, tmp_path, **fixed):
    options = twin.pick(seed, **OPTIONS) | fixed
    config = hf.T5Config(vocab_size=99, decoder_start_token_id=0, **options)
    network = twin.theirs(lambda: hf.T5ForConditionalGeneration(config), seed)
    with torch.no_grad():  # scores are not divided by √d: a trained T5 has small queries
        for name, parameter in network.named_parameters():
            if name.endswith("Attention.q.weight"):
                parameter.mul_(config.d_kv**-0.5)
    return network, twin.ours(network, tmp_path / "hf")


@pytest.mark.parametrize("seed", range(10))
def test_equal_to_transformers(seed, tmp_path):
    network, own = pair(seed, tmp_path)
    source, labels = twin.tokens(seed, 3, 30), twin.tokens(seed + 1, 3, 13)
    labels[1, 9:] = -100
    seen, mask = twin.padding([30, 11, 2], 30)
    theirs = network(input_ids=source, attention_mask=seen, labels=labels)
    twin.close(own(source, own.shifted(labels), source_mask=mask), theirs.logits)
    memory = own.encode(source, attn_mask=mask)
    twin.close(memory[seen.bool()], theirs.encoder_last_hidden_state[seen.bool()])
    loss = own.loss(source, labels, source_mask=mask)
    twin.close(loss, theirs.loss)
    theirs.loss.backward()
    loss.backward()
    twin.same_gradients(network, own)


@pytest.mark.parametrize("seed", range(4))
def test_a_cache_changes_nothing(seed, tmp_path):
    _, own = pair(seed, tmp_path)
    source, target = twin.tokens(seed, 2, 9), twin.tokens(seed + 1, 2, 25)
    cache = KVCache(len(own.decoder))
    with torch.no_grad():
        memory = own.encode(source)
        parts = [
            own.decode(part, memory, cache=cache) for part in target.split([5, 1, 1, 3, 15], 1)
        ]
        twin.close(torch.cat(parts, 1), own.decode(target, memory))


@pytest.mark.parametrize("seed", range(6))
def test_saved_by_us_opened_by_transformers(seed, tmp_path):
    _, own = pair(seed, tmp_path)
    again = twin.back(own, tmp_path / "ours", hf.T5ForConditionalGeneration)
    source, target = twin.tokens(seed, 2, 9), twin.tokens(seed + 1, 2, 5)
    with torch.no_grad():
        expected = own(source, target)
        twin.close(again(input_ids=source, decoder_input_ids=target).logits, expected)


def test_a_head_of_its_own(tmp_path):
    """T5 1.1: what transformers keeps apart in the file stays apart here."""
    import json

    import safetensors.torch

    from eyeline.models.opening import open_network

    network, _ = pair(2, tmp_path, tie_word_embeddings=False)
    path = tmp_path / "hf" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    head = torch.randn_like(tensors["shared.weight"])
    safetensors.torch.save_file(tensors | {"lm_head.weight": head}, path, {"format": "pt"})
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    own, _ = open_network(tmp_path / "hf")
    assert torch.equal(own.head.weight, head) and not own.config.scale_outputs
    source, target = twin.tokens(2, 1, 9), twin.tokens(3, 1, 5)
    again = hf.T5ForConditionalGeneration.from_pretrained(tmp_path / "hf")
    with torch.no_grad():
        expected = again(input_ids=source, decoder_input_ids=target).logits
        twin.close(own(source, target), expected)
        back = twin.back(own, tmp_path / "ours", hf.T5ForConditionalGeneration)
        twin.close(back(input_ids=source, decoder_input_ids=target).logits, expected)
    assert network.config.d_model == own.config.embed_dim


def test_initialisation():
    config = T5Config(
        vocab_size=99, embed_dim=64, hidden_dim=96, head_dim=16, num_heads=4, num_layers=1
    )
    network = T5(config)
    attention = network.decoder[0].cross_attention
    assert attention.q_proj.weight.std().item() == pytest.approx((64 * 16) ** -0.5, rel=0.1)
    assert attention.k_proj.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)
    assert network.tokens.weight.std().item() == pytest.approx(1.0, rel=0.1)
    down = network.encoder[0].feed_forward.down_proj
    assert down.weight.std().item() == pytest.approx(96**-0.5, rel=0.1)
