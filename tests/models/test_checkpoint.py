"""Names in a checkpoint: with a prefix and without, of today and of yesterday, and too many."""

import pytest
import safetensors.torch
import torch

from eyeline._errors import CheckpointError
from eyeline.models.bert import Bert, BertConfig
from eyeline.models.checkpoint import fill, open_checkpoint
from eyeline.models.gpt2 import GPT2, GPT2Config
from eyeline.models.saving import tensors_of

GPT = GPT2Config(vocab_size=30, max_length=8, embed_dim=8, num_layers=1, num_heads=2)
BERT = BertConfig(
    vocab_size=30, max_length=8, embed_dim=8, num_layers=1, num_heads=2, hidden_dim=12
)


def filled(config, tensors, path, dtype=torch.float32):
    safetensors.torch.save_file(tensors, path / "model.safetensors")
    network = {GPT: GPT2, BERT: Bert}[config]
    with torch.device("meta"):
        made = network(config)
    return fill(made, open_checkpoint(path / "model.safetensors"), dtype)


@pytest.mark.parametrize("change", [str, lambda n: n.removeprefix("transformer.")])
def test_with_a_prefix_and_without(change, tmp_path):
    network = GPT2(GPT)
    tensors = {change(name): tensor for name, tensor in tensors_of(network).items()}
    again = filled(GPT, tensors, tmp_path)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other) and other.requires_grad


def test_buffers_and_tied_heads_of_old_checkpoints_are_not_read(tmp_path):
    network = GPT2(GPT)
    extra = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "lm_head.weight": torch.randn(30, 8),
    }
    again = filled(GPT, tensors_of(network) | extra, tmp_path)
    assert torch.equal(again.tokens.weight, network.tokens.weight)


def test_heads_for_other_tasks_are_not_read(tmp_path):
    network = Bert(BERT)
    filled(BERT, tensors_of(network) | {"classifier.weight": torch.randn(2, 8)}, tmp_path)
    inside = {"bert.encoder.layer.0.adapter.weight": torch.randn(2, 8)}
    with pytest.raises(CheckpointError, match="does not speak of"):
        filled(BERT, tensors_of(network) | inside, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_half_and_double(dtype, tmp_path):
    network = GPT2(GPT)
    stored = {name: tensor.to(dtype) for name, tensor in tensors_of(network).items()}
    again = filled(GPT, stored, tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    wte = stored["transformer.wte.weight"].float()
    assert torch.equal(again.tokens.weight, wte)
    kept = filled(GPT, stored, tmp_path, dtype)
    assert {p.dtype for p in kept.parameters()} == {dtype}


def test_a_sum_beyond_the_largest_number_is_no_warning(tmp_path):
    tensors = tensors_of(GPT2(GPT))
    tensors["transformer.wte.weight"] = torch.full((30, 8), 3e38)
    filled(GPT, tensors, tmp_path)
