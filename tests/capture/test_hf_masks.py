"""transformers' mask functions against transformers' own `sdpa_mask`."""

import pytest
import torch
from transformers import masking_utils as hf

from eyeline import masks
from eyeline.capture.hf_masks import Frame, translate
from eyeline.capture.symbolic_mask import make_mask

PADDED = torch.tensor([2, 0])
BLOCKS = torch.tensor([[-1, 0, 0, -1, 1, 1, 1, -1, -1], [0, 0, 0, -1, -1, -1, 2, 2, -1]])
POSITIONS = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0, 1], [0, 0, 1, 2, 3, 4, 5, 6, 7]])
IDS = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 1, 1, 1]])


def some_function(b, h, q, k):
    return (q + k) % 3 != 0


RULES = {
    "causal": hf.causal_mask_function,
    "bidirectional": hf.bidirectional_mask_function,
    "window": hf.sliding_window_causal_mask_function(3),
    "window-1": hf.sliding_window_causal_mask_function(1),
    "window-both": hf.sliding_window_bidirectional_mask_function(2),
    "window-0": hf.sliding_window_bidirectional_mask_function(0),
    "chunks": hf.chunked_causal_mask_function(3, PADDED),
    "blocks": hf.or_masks(hf.causal_mask_function, hf.blockwise_overlay(BLOCKS)),
    "or-everybody": hf.or_masks(hf.causal_mask_function, hf.bidirectional_mask_function),
    "shifted": hf.add_offsets_to_mask_function(hf.causal_mask_function, 3, 1),
    "padding": hf.padding_mask_function(BLOCKS >= 0),
}
PACKED = {
    "packed": hf.packed_sequence_compatibility_function(hf.causal_mask_function, POSITIONS, IDS),
    "packed-window": hf.packed_sequence_compatibility_function(
        hf.sliding_window_causal_mask_function(2), POSITIONS, IDS
    ),
}
FALLBACK = {
    "custom": some_function,
    "custom-and": hf.and_masks(hf.causal_mask_function, some_function),
    "window-nothing": hf.sliding_window_overlay(0),
    "packed-chunks": hf.packed_sequence_compatibility_function(
        hf.chunked_causal_mask_function(2, PADDED * 0), POSITIONS, IDS
    ),
    "packed-strange": hf.packed_sequence_compatibility_function(
        hf.causal_mask_function, POSITIONS.flip(1), IDS
    ),
    "packed-twice": hf.packed_sequence_compatibility_function(
        hf.causal_mask_function, POSITIONS, IDS % 2
    ),
}
SHAPES = {
    "square": (9, 9, 0, 0),
    "decode": (1, 9, 8, 0),
    "chunk": (3, 9, 6, 0),
    "static": (4, 9, 0, 0),
    "window-cache": (2, 5, 7, 4),
}


def compare(function, shape, padding=None, **more):
    q_len, kv_len, q_offset, kv_offset = shape
    given = {
        "batch_size": 2,
        "q_length": q_len,
        "kv_length": kv_len,
        "q_offset": q_offset,
        "kv_offset": kv_offset,
        "mask_function": function,
        "attention_mask": padding,
    } | more
    expected = hf.sdpa_mask(**given, allow_is_causal_skip=False).expand(2, 1, q_len, kv_len)
    found = make_mask(**given)
    assert torch.equal(found.dense(), expected)
    return str(found.rule)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", RULES)
def test_rules_are_read_back(name, shape, padded):
    padding = torch.ones(2, 9, dtype=torch.bool)
    padding[0, :2] = padding[1, 7:] = False
    assert "predicate" not in compare(RULES[name], SHAPES[shape], padding if padded else None)


@pytest.mark.parametrize("name", PACKED)
def test_packed_sequences_are_documents(name):
    text = compare(PACKED[name], SHAPES["square"])
    assert "documents" in text and "predicate" not in text


@pytest.mark.parametrize("use_vmap", [False, True])
@pytest.mark.parametrize("name", FALLBACK)
def test_the_rest_is_evaluated_tile_by_tile(name, use_vmap):
    text = compare(FALLBACK[name], SHAPES["square"], use_vmap=use_vmap)
    assert "predicate" in text


def test_functions_of_single_indices_need_vmap():
    table = torch.rand(9, 9) < 0.5

    def look_up(b, h, q, k):
        return table[q, k] | (q == k)

    assert "predicate" in compare(look_up, SHAPES["square"], use_vmap=True)


def test_offsets_may_be_tensors():
    compare(hf.causal_mask_function, (2, 9, torch.tensor(5), 0))


def test_padding_shorter_than_the_cache():
    compare(hf.causal_mask_function, (2, 9, 4, 0), torch.ones(2, 6, dtype=torch.bool))


def test_plain_rules_stay_plain():
    everything = torch.ones(2, 9, dtype=torch.bool)
    assert str(translate(hf.causal_mask_function, Frame(9, 9), everything)) == "causal()"
    assert str(translate(hf.causal_mask_function, Frame(1, 9, 8))) == "causal(offset=8)"
    assert translate(hf.bidirectional_mask_function, Frame(9, 9)) is None


def test_no_tensor_of_n_by_n_is_made():
    n, largest = 5000, 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    padding = torch.ones(2, n, dtype=torch.bool)
    padding[0, :7] = False
    with Watch():
        for function in (RULES["causal"], RULES["window"], RULES["chunks"]):
            mask = make_mask(2, n, n, function, attention_mask=padding)
            assert isinstance(mask.rule, masks.Mask)
    assert largest < 10 * n
