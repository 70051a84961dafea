"""There and back: every layout of inputs and outputs, every form of mask."""

import pytest
import torch

from eyeline.doctor._cases import Sizes, attention_inputs
from eyeline.doctor._layouts import LAYOUTS, from_output, output_layouts, shape_mask, to_layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_output_that_lies_as_the_inputs_comes_back(layout):
    sizes = Sizes(batch=1 if layout == "LD" else 2)
    if layout in ("BLD", "LD"):
        sizes = Sizes(batch=sizes.batch, num_heads=1, num_kv_heads=1)
    s = attention_inputs(sizes)
    output = torch.randn(sizes.batch, sizes.num_heads, sizes.q_len, sizes.value_dim)
    axes = output_layouts(s, layout)[0]
    moved = to_layout(output, layout)
    assert list(moved.shape) == [length for _, length in axes]
    assert torch.equal(from_output(moved, axes, s), output)


def test_merged_heads_come_back():
    s = attention_inputs(Sizes())
    output = torch.randn(2, 3, 5, 6)
    (axes,) = (a for a in output_layouts(s, "BHLD") if a[-1][0] == "heads × width")
    assert torch.equal(from_output(output.transpose(1, 2).flatten(2), axes, s), output)


def test_forms_of_a_mask_say_the_same():
    mask = torch.tensor([[[[True, False], [True, True]]]])
    assert torch.equal(shape_mask(mask, "ignore", "LS", torch.float64), ~mask[0, 0])
    assert torch.equal(shape_mask(mask, "ones", "BLS", torch.float64), mask[:, 0].double())
    added = shape_mask(mask, "add", "B1LS", torch.float32)
    assert added.tolist() == [[[[0, -torch.inf], [0, 0]]]] and added.dtype == torch.float32
    attend = shape_mask(mask, "attend", "B1LS", torch.float32)
    attend[...] = False
    assert mask.any()  # a candidate that writes into its mask writes into a copy
