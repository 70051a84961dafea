"""T5's dense bias is recognised as its table, and only where it is exactly that."""

import pytest
import torch
from torch import nn

from eyeline._types import Tile
from eyeline.biases import RelativeBias
from eyeline.capture import hf_biases
from eyeline.capture.hf_biases import symbolic_bias


class Module(nn.Module):
    """What an attention module of T5 shows of its bias."""

    def __init__(self, decoder=False):
        super().__init__()
        self.is_decoder = decoder
        self.relative_attention_bias = nn.Embedding(8, 3)
        self.relative_attention_max_distance = 16


def dense(module, q_len, kv_len, offset=0):
    rule = RelativeBias(
        module.relative_attention_bias.weight.detach(),
        bidirectional=not module.is_decoder,
        max_distance=16,
        offset=offset,
    )
    return rule.tile(Tile.whole(1, 3, q_len, kv_len)).expand(1, 3, q_len, kv_len).clone()


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize("q_len, kv_len, offset", [(70, 70, 0), (3, 9, 6), (3, 9, 0), (1, 5, 4)])
def test_a_table_is_found_behind_its_tensor(decoder, q_len, kv_len, offset):
    module = Module(decoder)
    tensor = dense(module, q_len, kv_len, offset)
    rule = symbolic_bias(module, tensor)
    assert isinstance(rule, RelativeBias) and rule.parameter.shape == (8, 3)
    found = rule.tile(Tile.whole(1, 3, q_len, kv_len)).expand(tensor.shape)
    assert torch.equal(found, tensor)


def test_the_rule_outlives_a_change_of_the_table():
    module = Module()
    tensor = dense(module, 6, 6)
    rule = symbolic_bias(module, tensor)
    nn.init.zeros_(module.relative_attention_bias.weight)
    assert torch.equal(rule.tile(Tile.whole(1, 3, 6, 6)).expand(tensor.shape), tensor)


def test_layers_that_are_handed_the_tensor_share_the_rule_while_it_lives():
    module = Module()
    tensor = dense(module, 6, 6)
    rule = symbolic_bias(module, tensor)
    assert symbolic_bias(nn.Module(), tensor) is rule
    assert len(hf_biases._known) >= 1
    before = len(hf_biases._known)
    del tensor
    assert len(hf_biases._known) == before - 1


@pytest.mark.parametrize("where", [(0, 0, 0, 0), (0, 2, 69, 69), (0, 1, 64, 3)])
def test_one_other_number_and_it_stays_a_tensor(where):
    module = Module()
    tensor = dense(module, 70, 70)
    tensor[where] += 1e-6
    assert symbolic_bias(module, tensor) is tensor


def test_what_has_no_table_of_that_shape_stays_a_tensor():
    module, tensor = Module(), dense(Module(), 6, 6)
    assert symbolic_bias(nn.Module(), tensor) is tensor
    other = tensor[:, :2]
    assert symbolic_bias(module, other) is other
    assert symbolic_bias(module, batch := tensor.repeat(2, 1, 1, 1)) is batch


def test_zeros_are_no_bias():
    assert symbolic_bias(Module(), torch.zeros(1, 3, 6, 6)) is None
    learned = torch.zeros(1, 3, 6, 6, requires_grad=True) * 1
    assert symbolic_bias(nn.Module(), learned) is learned, "its gradient would be lost"
