"""torch's scaled_dot_product_attention judges what is called right."""

import torch
import torch.nn.functional as F

from eyeline.doctor._cases import Sizes, attention_inputs, random_mask
from eyeline.doctor.catalogue import ATTENTION


def test_right_is_torchs():
    sizes = Sizes()
    mask = random_mask(2, 5, 7, seed=3, empty=False)
    for case in (
        attention_inputs(sizes),
        attention_inputs(sizes, mask=mask),
        attention_inputs(sizes, scale=0.3),
        attention_inputs(sizes.square(), is_causal=True),
    ):
        right = F.scaled_dot_product_attention(
            case["query"],
            case["key"],
            case["value"],
            case["mask"],
            is_causal=case["is_causal"],
            scale=case["scale"],
        )
        torch.testing.assert_close(ATTENTION.run(case).context, right)


def test_grouped_heads_are_torchs():
    case = attention_inputs(Sizes(num_heads=6, num_kv_heads=2))
    right = F.scaled_dot_product_attention(
        case["query"], case["key"], case["value"], enable_gqa=True
    )
    torch.testing.assert_close(ATTENTION.run(case).context, right)
