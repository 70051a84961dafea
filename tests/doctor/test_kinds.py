"""What a candidate is, by its parameters, its name or its parts."""

import pytest
import torch
from torch import nn

import eyeline
from eyeline import EyelineError
from eyeline.doctor import KINDS
from eyeline.doctor.kinds import kind_of


def named(name, parameters):
    made = {}
    exec(f"def {name}({parameters}): pass", made)
    return made[name]


@pytest.mark.parametrize(
    "name, parameters, kind",
    [
        ("f", "q, k, v", "attention"),
        ("attend", "a, b, c", "attention"),
        ("grouped_query_attention", "q, k, v", "grouped attention"),
        ("step", "q, k, v, cache=None", "decoding"),
        ("mha", "x, w_q, w_k, w_v, w_o", "multi-head attention"),
        ("my_softmax", "x", "softmax"),
        ("make_causal_mask", "n", "causal mask"),
        ("subsequent_mask", "size", "causal mask"),
        ("padding_mask", "lengths", "padding mask"),
        ("split_heads", "x, num_heads", "split heads"),
        ("combine_heads", "x", "merge heads"),
        ("positional_encoding", "length, d_model", "sinusoids"),
        ("apply_rope", "x", "rotary positions"),
        ("alibi_bias", "num_heads, n", "alibi"),
        ("layer_norm", "x", "layer norm"),
        ("mean_pool", "x, mask", "mean pooling"),
        ("lm_loss", "logits, ids", "next-token loss"),
    ],
)
def test_functions(name, parameters, kind):
    assert kind_of(named(name, parameters), name, None) is KINDS[kind]


@pytest.mark.parametrize(
    "module, kind",
    [
        (nn.MultiheadAttention(4, 2), "multi-head attention"),
        (nn.TransformerEncoderLayer(4, 2, 8), "block"),
        (nn.LayerNorm(4), "layer norm"),
        (nn.Softmax(-1), "softmax"),
        (eyeline.nn.Rotary(4), "rotary positions"),
        (eyeline.nn.SinusoidalPositions(4), "sinusoids"),
    ],
)
def test_modules(module, kind):
    name = type(module).__name__
    name = {"SinusoidalPositions": "SinusoidalPositions"}.get(name, name)
    assert kind_of(module, name, None) is KINDS[kind]


def test_stated_or_unknown():
    assert kind_of(torch.softmax, "f", "softmax") is KINDS["softmax"]
    with pytest.raises(EyelineError, match="choose one of attention"):
        kind_of(torch.softmax, "f", "sofmax")
    with pytest.raises(EyelineError, match="I cannot tell"):
        kind_of(named("f", "x"), "f", None)
