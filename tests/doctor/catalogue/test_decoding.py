"""Piece by piece with a cache: what torch gives on the whole text at once."""

import torch
import torch.nn.functional as F

from eyeline.doctor import forge


def test_right_is_the_whole_text_at_once():
    decode = forge("decoding")
    query, key, value = (torch.randn(2, 3, 7, 4, dtype=torch.float64) for _ in range(3))
    outputs, cache = [], None
    for start, stop in ((0, 3), (3, 4), (4, 5), (5, 7)):
        part = slice(start, stop)
        output, cache = decode(query[:, :, part], key[:, :, part], value[:, :, part], cache)
        outputs.append(output)
    whole = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(torch.cat(outputs, 2), whole)
