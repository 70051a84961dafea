"""`nn.MultiheadAttention`: the module's own weights, whatever its options and masks."""

import warnings

import pytest
import torch
from torch import nn

from eyeline.capture import UnsupportedModel, watch

LONG, WIDE = 7, 16


class Wrapped(nn.Module):
    """A model that has one attention."""

    def __init__(self, **options):
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDE, 4, **options).eval()

    def forward(self, *args, **kwargs):
        return self.attend(*args, **kwargs)


def build(**options) -> Wrapped:
    torch.manual_seed(0)
    model = Wrapped(**options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def masked(kind: str | None, kv_len: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    blocked = torch.rand(LONG, kv_len, generator=generator) < 0.4
    blocked[:, 0] = False
    heads = torch.rand(2 * 4, LONG, kv_len, generator=generator) < 0.4
    heads[:, :, 0] = False
    padding = torch.zeros(2, kv_len, dtype=torch.bool)
    padding[0, -2:] = True
    added = torch.randn(LONG, kv_len, generator=generator)
    return {
        "none": {},
        "bool": {"attn_mask": blocked},
        "float": {"attn_mask": added},
        "float-inf": {"attn_mask": torch.zeros(LONG, kv_len).masked_fill(blocked, -torch.inf)},
        "heads": {"attn_mask": heads},
        "padding": {"key_padding_mask": padding},
        "padding-float": {"key_padding_mask": torch.randn(2, kv_len, generator=generator)},
        "both": {"attn_mask": blocked, "key_padding_mask": padding},
        "both-float": {
            "attn_mask": added,
            "key_padding_mask": torch.zeros(2, kv_len).masked_fill(padding, -torch.inf),
        },
    }[kind]


MASKS = [
    "none",
    "bool",
    "float",
    "float-inf",
    "heads",
    "padding",
    "padding-float",
    "both",
    "both-float",
]
OPTIONS = {
    "plain": {},
    "no-bias": {"bias": False},
    "seq-first": {"batch_first": False},
    "kv-dims": {"kdim": 12, "vdim": 10},
    "bias-kv": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True},
    "bias-kv-zero": {"add_bias_kv": True, "add_zero_attn": True},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_weights_equal_the_modules_own(options, mask):
    given = {"batch_first": True} | OPTIONS[options]
    model = build(**given)
    query = torch.randn(2, LONG, WIDE)
    key = torch.randn(2, LONG + 2, given.get("kdim", WIDE))
    value = torch.randn(2, LONG + 2, given.get("vdim", WIDE))
    if not given["batch_first"]:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    call = masked(mask, LONG + 2) | {"average_attn_weights": False}
    expected, weights = model(query, key, value, **call)
    with watch(model, outputs=True) as maps:
        found, _ = model(query, key, value, **call)
    assert torch.equal(found, expected)
    record = maps.records["attend"]
    torch.testing.assert_close(record.map.dense(), weights, atol=1e-6, rtol=1e-5)
    joined = record.output.transpose(1, 2).flatten(2)
    projected = model.attend.out_proj(joined)
    if not given["batch_first"]:
        projected = projected.transpose(0, 1)
    torch.testing.assert_close(projected, expected, atol=1e-5, rtol=1e-5)
    assert record.kind == "cross"


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_unbatched(batch_first, padded):
    model = build(batch_first=batch_first)
    x = torch.randn(LONG, WIDE)
    call = {"key_padding_mask": torch.arange(LONG) > 4} if padded else {}
    _, weights = model(x, x, x, average_attn_weights=False, **call)
    with watch(model) as maps:
        model(x, x, x, **call)
    torch.testing.assert_close(maps["attend"].dense()[0], weights)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_causal_masks_are_recognised(need_weights, dtype):
    model = build(batch_first=True)
    x = torch.randn(2, LONG, WIDE)
    mask = nn.Transformer.generate_square_subsequent_mask(LONG)
    mask = mask == -torch.inf if dtype == torch.bool else mask
    _, weights = model(x, x, x, attn_mask=mask, average_attn_weights=False)
    with watch(model) as maps:
        model(x, x, x, attn_mask=mask, is_causal=True, need_weights=need_weights)
    assert str(maps["attend"].problem.mask) == "causal()"
    assert maps.records["attend"].kind == "decoder"
    torch.testing.assert_close(maps["attend"].dense(), weights)


def test_a_wrong_hint_counts_only_where_torch_goes_by_it():
    model = build(batch_first=True)
    x = torch.randn(2, LONG, WIDE)
    mask = torch.zeros(LONG, LONG, dtype=torch.bool)  # blocks nothing: the hint is a lie
    for need_weights in (True, False):
        call = {"attn_mask": mask, "is_causal": True, "need_weights": need_weights}
        expected, _ = model(x, x, x, **call)
        with watch(model, outputs=True) as maps:
            model(x, x, x, **call)
        joined = maps.records["attend"].output.transpose(1, 2).flatten(2)
        torch.testing.assert_close(model.attend.out_proj(joined), expected)


@pytest.mark.parametrize("grad", [True, False])
def test_encoder_layers_cannot_bypass_the_watcher(grad):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDE, 4, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    x = torch.randn(2, LONG, WIDE)
    with torch.set_grad_enabled(grad):
        expected = model(x)
        with watch(model) as maps:
            found = model(x)
    assert list(maps) == [f"layers.{n}.self_attn" for n in range(3)]
    assert [r.layer for r in maps.records.values()] == [0, 1, 2]
    assert {r.kind for r in maps.records.values()} == {"encoder"}
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_nested_tensors_of_the_encoder():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDE, 4, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, LONG, WIDE)
    padding = torch.zeros(2, LONG, dtype=torch.bool)
    padding[0, -3:] = True
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*nested tensors is in prototype")
        expected = model(x, src_key_padding_mask=padding)
        with watch(model) as maps:
            found = model(x, src_key_padding_mask=padding)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
        first = maps["layers.0.self_attn"].dense()
        _, weights = model.layers[0].self_attn(
            x, x, x, key_padding_mask=padding, average_attn_weights=False
        )
    torch.testing.assert_close(first[0, :, :-3], weights[0, :, :-3])
    torch.testing.assert_close(first[1], weights[1])
    assert first[0, :, -3:].abs().max() == 0


def test_whole_transformer():
    torch.manual_seed(0)
    model = nn.Transformer(WIDE, 4, 2, 2, 32, batch_first=True).eval()
    source, target = torch.randn(2, 9, WIDE), torch.randn(2, LONG, WIDE)
    mask = nn.Transformer.generate_square_subsequent_mask(LONG)
    with watch(model) as maps:
        model(source, target, tgt_mask=mask)
    kinds = [(r.kind, r.layer) for r in maps.records.values()]
    assert kinds == [
        ("encoder", 0),
        ("encoder", 1),
        ("decoder", 0),
        ("cross", 0),
        ("decoder", 1),
        ("cross", 1),
    ]
    assert maps["decoder.layers.0.multihead_attn"].shape == (2, 4, LONG, 9)


def test_gradients_stay():
    model = build(batch_first=True)
    x = torch.randn(2, LONG, WIDE, requires_grad=True)
    model(x, x, x)[0].square().mean().backward()
    expected, x.grad = x.grad, None
    with watch(model) as maps:
        model(x, x, x)[0].square().mean().backward()
    assert torch.equal(x.grad, expected)
    assert not maps["attend"].problem.query.requires_grad


def test_hooks_are_gone_afterwards():
    model = build()
    with pytest.raises(RuntimeError, match="mine"), watch(model):
        raise RuntimeError("mine")
    assert not model._forward_hooks and not model._forward_pre_hooks
    assert not model.attend._forward_hooks


def test_model_without_attention_is_refused():
    with pytest.raises(UnsupportedModel, match=r"Sequential.*no attention"):
        with watch(nn.Sequential(nn.Linear(2, 2))):
            pass
