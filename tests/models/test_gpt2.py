"""GPT-2 against transformers', with everything that its config can switch."""

import math

import pytest
import torch
import transformers as hf

import _hf_twin as twin
from eyeline.models.gpt2 import GPT2, GPT2Config
from eyeline.nn import KVCache

SEEDS = range(10)
OPTIONS = {
    "n_embd": (32, 48),
    "n_layer": (1, 2, 3),
    "n_head": (1, 2, 4),
    "n_inner": (None, 40),
    "activation_function": twin.ACTIVATIONS,
    "layer_norm_epsilon": (1e-5, 1e-3),
    "scale_attn_weights": (True, False),
    "scale_attn_by_inverse_layer_idx": (False, True),
    "reorder_and_upcast_attn": (False, True),
    "add_cross_attention": (False, True),
    "tie_word_embeddings": (True, False),
}


def pair(seed, tmp_path, **fixed):
    options = twin.pick(seed, **OPTIONS) | fixed
    config = hf.GPT2Config(
        vocab_size=99, n_positions=40, bos_token_id=1, eos_token_id=2, is_decoder=True, **options
    )
    network = twin.theirs(lambda: hf.GPT2LMHeadModel(config), seed)
    return network, twin.ours(network, tmp_path / "hf")


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_to_transformers(seed, tmp_path):
    network, own = pair(seed, tmp_path)
    tokens = twin.tokens(seed, 3, 17)
    there, here = {}, {}
    if own.config.cross_attention:
        memory = torch.randn(3, 6, own.config.embed_dim)
        seen, mask = twin.padding([6, 4, 1], 6)
        there = {"encoder_hidden_states": memory, "encoder_attention_mask": seen}
        here = {"memory": memory, "memory_mask": mask}
    theirs = network(tokens, labels=tokens, **there)
    twin.close(own(tokens, **here), theirs.logits)
    loss = own.loss(tokens, **here)
    twin.close(loss, theirs.loss)
    theirs.loss.backward()
    loss.backward()
    twin.same_gradients(network, own)


@pytest.mark.parametrize("seed", range(3))
def test_padding(seed, tmp_path):
    network, own = pair(seed, tmp_path, add_cross_attention=False)
    tokens = twin.tokens(seed, 3, 12)
    seen, mask = twin.padding([12, 7, 1], 12)
    with torch.no_grad():
        found = own(tokens, attn_mask=mask)
        expected = network(tokens, attention_mask=seen).logits
    twin.close(found[seen.bool()], expected[seen.bool()])


@pytest.mark.parametrize("seed", range(4))
def test_a_cache_changes_nothing(seed, tmp_path):
    _, own = pair(seed, tmp_path)
    tokens = twin.tokens(seed, 2, 15)
    cross = own.config.cross_attention
    memory = torch.randn(2, 6, own.config.embed_dim) if cross else None
    cache = KVCache(own.config.num_layers)
    with torch.no_grad():
        whole = own(tokens, memory=memory)
        parts = [own(part, memory=memory, cache=cache) for part in tokens.split([5, 1, 1, 3, 5], 1)]
    twin.close(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("seed", range(4))
def test_saved_by_us_opened_by_transformers(seed, tmp_path):
    _, own = pair(seed, tmp_path)
    again = twin.back(own, tmp_path / "ours", hf.GPT2LMHeadModel)
    tokens = twin.tokens(seed, 2, 9)
    with torch.no_grad():
        memory = torch.randn(2, 4, own.config.embed_dim) if own.config.cross_attention else None
        twin.close(again(tokens, encoder_hidden_states=memory).logits, own(tokens, memory=memory))


def test_a_model_without_a_head_has_the_same_names(tmp_path):
    config = hf.GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=40)
    config.bos_token_id = config.eos_token_id = 2
    network = twin.theirs(lambda: hf.GPT2Model(config), 0)
    own = twin.ours(network, tmp_path)
    tokens = twin.tokens(0, 2, 9)
    twin.close(own.hidden(tokens), network(tokens).last_hidden_state)


def test_positions_can_be_said(tmp_path):
    network, own = pair(1, tmp_path, add_cross_attention=False)
    tokens, places = twin.tokens(1, 2, 5), torch.tensor([[3, 4, 5, 6, 7], [0, 0, 0, 1, 2]])
    with torch.no_grad():
        expected = network(tokens, position_ids=places, attention_mask=torch.ones(2, 5)).logits
        twin.close(own(tokens, positions=places), expected)
        with pytest.raises(ValueError, match="position 40 has no vector"):
            own(tokens, positions=places + 33)


def test_initialisation_and_training():
    config = GPT2Config(vocab_size=99, max_length=16, embed_dim=64, num_layers=2, num_heads=4)
    torch.manual_seed(3)
    one = GPT2(config)
    torch.manual_seed(3)
    two = GPT2(config)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    block = one.blocks[0]
    assert block.attention.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert block.attention.o_proj.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert block.feed_forward.down_proj.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert one.norm.weight.unique().tolist() == [1.0]
    tokens = twin.tokens(0, 4, 16)
    torch.manual_seed(1)
    first = one.loss(tokens)
    assert first.item() != one.loss(tokens).item()  # dropout, in training
    assert first.item() == pytest.approx(math.log(99), abs=0.1)
    optimizer = torch.optim.AdamW(one.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        loss = one.loss(tokens)
        loss.backward()
        optimizer.step()
    assert loss < 0.6 * first


def test_what_is_not_to_be_learnt(tmp_path):
    _, own = pair(0, tmp_path, add_cross_attention=False)
    tokens = twin.tokens(0, 1, 9)
    labels = tokens.clone()
    labels[:, :5] = -100
    logits = own(tokens)
    expected = torch.nn.functional.cross_entropy(logits[0, 4:-1], tokens[0, 5:])
    twin.close(own.loss(tokens, labels), expected)
