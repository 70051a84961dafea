"""W_Q, W_K, W_V and W_O are found in every layout, and heard at the right call."""

import pytest
import torch
from torch import nn

import _tiny_models as tiny
from eyeline.capture import watch
from eyeline.capture.projections import find_projections, listen


def first_record(family):
    loaded = tiny.loaded(family)
    ids = torch.arange(3, 12)[None]
    extra = {"decoder_input_ids": ids[:, :5]} if family in tiny.PAIRS else {}
    with torch.no_grad(), watch(loaded.network, outputs=True) as maps:
        loaded.network(input_ids=ids, **extra)
    return loaded.network, list(maps.records.values()), {"input_ids": ids, **extra}


@pytest.mark.parametrize("family", tiny.MODELS)
def test_every_layout(family):
    network, records, inputs = first_record(family)
    for record in records:
        problem = record.map.problem
        heads, kv_heads = problem.query.shape[1], problem.key.shape[1]
        parts = find_projections(network, record.name, heads, kv_heads)
        assert parts is not None, record.name
        assert parts.query.weight.shape[0] == heads * problem.query.shape[-1]
        assert parts.key.weight.shape[0] == kv_heads * problem.key.shape[-1]
        assert parts.value.weight.shape[0] == kv_heads * problem.value.shape[-1]
        module, _, call = record.name.partition("@")
        attention = network.get_submodule(module)
        with torch.no_grad(), listen(parts, attention, int(call or 0)) as seen:
            network(**inputs)
        assert seen.kv_input.shape[1] == problem.key.shape[2]
        assert seen.query_input.shape[1] == problem.query.shape[2]
        value = parts.value(seen.kv_input).unflatten(-1, (kv_heads, -1)).transpose(1, 2)
        assert torch.allclose(value, problem.value, atol=1e-5)
        concat = record.output.transpose(1, 2).flatten(2)
        assert torch.allclose(concat.flatten(), seen.concat.flatten(), atol=1e-5)
        assert torch.allclose(parts.output(seen.concat), seen.output, atol=1e-5)
        assert (parts.query_norm is None) == (family not in ("qwen3", "olmo2"))


def test_a_head_is_its_rows():
    network, (record, *_), _ = first_record("bert")
    parts = find_projections(network, record.name, 4, 4)
    part = parts.query.head(2, 8)
    assert torch.equal(part.weight, parts.query.weight[16:24])
    assert torch.equal(part.bias, parts.query.bias[16:24])


def test_hooks_are_gone_also_after_an_error():
    network, (record, *_), _ = first_record("gpt2")
    parts = find_projections(network, record.name, 4, 4)
    attention = network.get_submodule(record.name)
    with pytest.raises(ZeroDivisionError), listen(parts, attention):
        raise ZeroDivisionError
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in network.modules())


@pytest.mark.parametrize("packed", [None, nn.Linear(8, 25)])
def test_an_unknown_layout_is_none(packed):
    model = nn.Module()
    model.attention = nn.Module()
    model.attention.dense = nn.Linear(8, 8)
    if packed is not None:
        model.attention.qkv_proj = packed
    assert find_projections(model, "attention", 2, 2) is None
    del model.attention.dense
    assert find_projections(model, "attention", 2, 2) is None
