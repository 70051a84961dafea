import pytest
import torch

from eyeline.models._keys import Part, parts_of

TABLE = {
    "tokens.*": "wte.*",
    "blocks.*.attention.q.*": Part("h.*.attn.c_attn.*", 0, 3, transposed=True),
    "blocks.*.attention.*": "h.*.attn.*",
    "head_bias": "bias",
}


def test_names():
    found = parts_of(
        ["tokens.weight", "blocks.12.attention.q.bias", "blocks.3.attention.o.weight", "head_bias"],
        TABLE,
    )
    assert [part.name for part in found.values()] == [
        "wte.weight",
        "h.12.attn.c_attn.bias",
        "h.3.attn.o.weight",
        "bias",
    ]
    assert found["blocks.12.attention.q.bias"].of == 3


@pytest.mark.parametrize("name", ["token", "blocks.x.attention.o.weight", "head_bias.x", "tokens."])
def test_a_parameter_without_a_rule(name):
    with pytest.raises(KeyError, match="no rule"):
        parts_of([name], TABLE)


@pytest.mark.parametrize("transposed", [False, True])
def test_taking_apart_and_joining(transposed):
    ours = [torch.randn(2, 5) for _ in range(3)]
    parts = [Part("x", n, 3, transposed) for n in range(3)]
    packed = parts[0].join(ours)
    assert packed.is_contiguous() and packed.shape == parts[1].shape_there((2, 5))
    for part, one in zip(parts, ours, strict=True):
        taken = part.take(packed)
        assert torch.equal(taken, one) and taken.is_contiguous()
        assert taken.untyped_storage().nbytes() == taken.nbytes  # the packed one can go


def test_a_bias_is_never_transposed():
    part = Part("x", 1, 2, transposed=True)
    assert torch.equal(part.take(torch.arange(6.0)), torch.tensor([3.0, 4.0, 5.0]))
    assert part.shape_there((3,)) == (6,)
