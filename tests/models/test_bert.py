"""BERT against transformers', with everything that its config can switch."""

import pytest
import torch
import transformers as hf

import _hf_twin as twin
from eyeline.models.bert import Bert, BertConfig
from eyeline.nn import KVCache

OPTIONS = {
    "hidden_size": (32, 48),
    "num_hidden_layers": (1, 2, 3),
    "num_attention_heads": (1, 2, 4),
    "intermediate_size": (40, 56),
    "hidden_act": twin.ACTIVATIONS,
    "type_vocab_size": (1, 2, 3),
    "layer_norm_eps": (1e-12, 1e-3),
    "tie_word_embeddings": (True, False),
}


def config_of(seed, **fixed):
    options = twin.pick(seed, **OPTIONS) | fixed
    return hf.BertConfig(vocab_size=99, max_position_embeddings=40, **options)


def pair(seed, tmp_path, kind=hf.BertForMaskedLM, **fixed):
    config = config_of(seed, **fixed)
    network = twin.theirs(lambda: kind(config), seed)
    return network, twin.ours(network, tmp_path / "hf")


@pytest.mark.parametrize("seed", range(10))
def test_equal_to_transformers(seed, tmp_path):
    network, own = pair(seed, tmp_path)
    tokens = twin.tokens(seed, 3, 17)
    segments = torch.randint(0, own.config.num_segments, (3, 17))
    seen, mask = twin.padding([17, 9, 1], 17)
    labels = tokens.masked_fill(torch.rand(3, 17) < 0.6, -100)
    labels[~seen.bool()] = -100
    theirs = network(tokens, token_type_ids=segments, attention_mask=seen, labels=labels)
    how = {"segments": segments, "attn_mask": mask}
    real = seen.bool()
    twin.close(own.logits(own(tokens, **how))[real], theirs.logits[real])
    loss = own.loss(tokens, labels, **how)
    twin.close(loss, theirs.loss)
    theirs.loss.backward()
    loss.backward()
    twin.same_gradients(network, own)


@pytest.mark.parametrize("seed", range(6))
def test_as_a_decoder(seed, tmp_path):
    options = {"is_decoder": True, "add_cross_attention": seed % 2 == 0}
    network, own = pair(seed, tmp_path, hf.BertLMHeadModel, **options)
    tokens = twin.tokens(seed, 2, 11)
    memory = torch.randn(2, 5, own.config.embed_dim) if seed % 2 == 0 else None
    theirs = network(tokens, encoder_hidden_states=memory, labels=tokens)
    twin.close(own.logits(own(tokens, memory=memory)), theirs.logits)
    loss = own.loss(tokens, tokens, memory=memory)
    twin.close(loss, theirs.loss)
    theirs.loss.backward()
    loss.backward()
    twin.same_gradients(network, own)
    cache = KVCache(own.config.num_layers)
    with torch.no_grad():
        parts = [own(part, memory=memory, cache=cache) for part in tokens.split([4, 1, 6], 1)]
        twin.close(torch.cat(parts, 1), own(tokens, memory=memory))


@pytest.mark.parametrize("pooling", [True, False])
def test_without_a_head(pooling, tmp_path):
    config = config_of(3)
    network = twin.theirs(lambda: hf.BertModel(config, add_pooling_layer=pooling), 3)
    own = twin.ours(network, tmp_path)
    tokens = twin.tokens(3, 2, 9)
    theirs = network(tokens)
    hidden = own(tokens)
    twin.close(hidden, theirs.last_hidden_state)
    assert own.config.architecture == "BertModel" and own.config.pooler is pooling
    if pooling:
        twin.close(own.pooled(hidden), theirs.pooler_output)
    with pytest.raises(ValueError, match="no head that names tokens"):
        own.logits(hidden)
    again = twin.back(own, tmp_path / "ours", hf.BertModel)
    twin.close(again(tokens).last_hidden_state, hidden)


@pytest.mark.parametrize("kind", [hf.BertForSequenceClassification, hf.BertForPreTraining])
def test_heads_for_other_tasks_are_left_out(kind, tmp_path):
    network, own = pair(4, tmp_path, kind)
    tokens = twin.tokens(4, 2, 9)
    twin.close(own(tokens), network.bert(tokens).last_hidden_state)
    assert own.config.masked_lm is (kind is hf.BertForPreTraining)


@pytest.mark.parametrize("seed", range(4))
def test_saved_by_us_opened_by_transformers(seed, tmp_path):
    _, own = pair(seed, tmp_path)
    again = twin.back(own, tmp_path / "ours", hf.BertForMaskedLM)
    tokens = twin.tokens(seed, 2, 9)
    with torch.no_grad():
        twin.close(again(tokens).logits, own.logits(own(tokens)))


def test_the_first_berts_names(tmp_path):
    import safetensors.torch

    from eyeline.models.opening import open_network

    network, own = pair(5, tmp_path)
    path = tmp_path / "hf" / "model.safetensors"
    tensors = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): t
        for n, t in safetensors.torch.load_file(path).items()
    }
    tensors["bert.embeddings.position_ids"] = torch.arange(40)[None]
    safetensors.torch.save_file(tensors, path)
    old, _ = open_network(tmp_path / "hf")
    tokens = twin.tokens(5, 1, 8)
    assert torch.equal(old(tokens), own(tokens))
    assert network.config.vocab_size == 99


def test_initialisation():
    config = BertConfig(
        vocab_size=99, max_length=16, embed_dim=64, num_layers=1, num_heads=4, hidden_dim=96
    )
    network = Bert(config)
    assert network.tokens.weight.std().item() == pytest.approx(0.02, rel=0.1)
    tokens = twin.tokens(0, 4, 16)
    assert network.loss(tokens, tokens).item() == pytest.approx(4.6, abs=0.1)  # ln 99
