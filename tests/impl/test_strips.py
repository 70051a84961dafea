"""Softmax in strips: the same numbers wherever the cuts are."""

import pytest
import torch

from eyeline.impl import _strips


@pytest.mark.parametrize("numbers", [1, 40, 2**19])
@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("top_k", [0, 3, 50])
def test_sums_of_every_row(monkeypatch, numbers, entropy, top_k):
    monkeypatch.setattr(_strips, "STRIP_NUMBERS", numbers)
    scores = 400 * torch.randn(2, 7, 20, dtype=torch.float64)  # exp of these overflows
    scores[0, 3] = -torch.inf
    scores[1, :, 5:] = -torch.inf
    panel = scores.clone()
    sums = _strips.exponentiate_(panel, top_k=top_k, entropy=entropy)
    top = scores.amax(-1, keepdim=True)
    shifted = scores - top.masked_fill(top == -torch.inf, 0)
    torch.testing.assert_close(panel, shifted.exp())
    torch.testing.assert_close(sums.top, top)
    torch.testing.assert_close(sums.total, shifted.exp().sum(-1, keepdim=True))
    if entropy:
        moment = (shifted.exp() * shifted).nan_to_num().sum(-1, keepdim=True)
        torch.testing.assert_close(sums.moment, moment)
    else:
        assert sums.moment is None
    if top_k:
        values, columns = sums.best
        expected, order = torch.sort(scores, dim=-1, descending=True, stable=True)
        assert torch.equal(values, expected[..., :top_k])
        live = values > -torch.inf
        assert torch.equal(columns[live], order[..., :top_k][live])
    else:
        assert sums.best is None
