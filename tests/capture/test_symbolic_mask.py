"""The stand-in for a mask tensor."""

import pytest
import torch

from eyeline import masks
from eyeline.capture.symbolic_mask import SymbolicMask, make_mask


@pytest.fixture
def causal() -> SymbolicMask:
    return SymbolicMask(masks.causal(1), (2, 1, 3, 4), "cpu")


EXPECTED = torch.ones(3, 4, dtype=torch.bool).tril(1).expand(2, 1, 3, 4)


def test_passes_for_a_tensor(causal):
    assert causal.shape == (2, 1, 3, 4)
    assert causal.ndim == causal.dim() == 4
    assert causal.size(-1) == 4 and causal.size() == causal.shape
    assert causal.numel() == 24
    assert causal.contiguous() is causal
    assert causal.to("cpu") is causal.to(torch.bool) is causal.detach() is causal


def test_becomes_one_where_a_model_computes_with_it(causal):
    assert torch.equal(causal.dense(), EXPECTED)
    assert torch.equal(causal[:, :, :2], EXPECTED[:, :, :2])
    assert torch.equal(~causal, ~EXPECTED)
    assert torch.equal(causal.logical_not(), ~EXPECTED)
    assert torch.equal(torch.where(causal, 1, 0), EXPECTED.long())
    assert torch.equal(torch.zeros(2, 1, 3, 4) + causal, EXPECTED.float())
    assert torch.equal(torch.cat([causal, causal], dim=-1), torch.cat([EXPECTED] * 2, dim=-1))
    assert causal.to(torch.float16).dtype == torch.float16
    with pytest.raises(AttributeError, match="nonsense"):
        causal.nonsense  # noqa: B018


def test_everybody():
    mask = SymbolicMask(None, (1, 1, 2, 3), "cpu")
    assert mask.dense().all()
    assert "everybody" in repr(mask)


def test_one_made_earlier_is_passed_back(causal):
    assert make_mask(2, 3, 4, lambda *_: None, attention_mask=causal) is causal
