"""Which parameter is moved by what, and by how much."""

import pytest
import torch
from torch import nn

from eyeline.models.gpt2 import GPT2, GPT2Config
from eyeline.train import Settings
from eyeline.train.optimizers import Optimizers

CONFIG = GPT2Config(vocab_size=11, max_length=8, embed_dim=16, num_layers=1, num_heads=2)


def moved(optimizer, decay=0.0, rate=0.01):
    """The change of every parameter of a small GPT-2 by one step."""
    torch.manual_seed(0)
    network = GPT2(CONFIG).eval()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    network.loss(torch.arange(8)[None]).backward()
    settings = Settings(1, rate, optimizer=optimizer, weight_decay=decay)
    optimizers = Optimizers(network, settings)
    optimizers.step(rate)
    after = dict(network.named_parameters())
    return network, {n: after[n].detach() - before[n] for n in before}, optimizers


def test_muon_moves_the_matrices_between_layers_in_every_direction_alike():
    network, change, _ = moved("muon")
    between = {id(m.weight) for m in network.modules() if isinstance(m, nn.Linear)}
    assert between
    for name, parameter in network.named_parameters():
        if id(parameter) in between:
            # as large as AdamW's steps: 0.2 x rate x sqrt(larger side) times what five
            # Newton-Schulz steps leave, 0.5 to 1.5, in every direction that the gradient has
            size = 0.2 * 0.01 * max(parameter.shape) ** 0.5
            values = torch.linalg.svdvals(change[name])
            assert 0.5 * size < values[3] <= values[0] < 1.5 * size, name


def test_the_rest_is_moved_as_adamw_moves_it():
    network, muon, _ = moved("muon")
    _, adamw, _ = moved("adamw")
    between = {id(m.weight) for m in network.modules() if isinstance(m, nn.Linear)}
    rest = [n for n, p in network.named_parameters() if id(p) not in between]
    assert "tokens.weight" in rest and any(n.endswith("bias") for n in rest)
    for name in rest:
        assert torch.equal(muon[name], adamw[name]), name
    assert any(not torch.equal(muon[n], adamw[n]) for n in muon if n not in rest)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_vectors_do_not_decay(optimizer):
    _, without, _ = moved(optimizer)
    network, decayed, _ = moved(optimizer, decay=1.0)
    for name, parameter in network.named_parameters():
        same = torch.equal(without[name], decayed[name])
        assert same == (parameter.dim() == 1), name


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_is_kept_of_a_parameter_comes_back(optimizer):
    network, _, optimizers = moved(optimizer)
    fresh = Optimizers(network, Settings(1, 0.01, optimizer=optimizer))
    for parameter in network.parameters():
        kept = optimizers.kept(parameter)
        assert kept and not fresh.kept(parameter)
        fresh.restore(parameter, kept.__getitem__)
        again = fresh.kept(parameter)
        assert kept.keys() == again.keys()
        assert all(torch.equal(kept[key], again[key]) for key in kept)
