"""Hugging Face models that are trained while somebody watches."""

import pytest
import torch

from eyeline import Measure
from eyeline.capture import watch


@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("name", ["bert", "t5", "gemma2", "gpt-oss"])
def test_training(tiny, inputs, name, reentrant):
    model = tiny(name).train()
    without_dropout(model)
    given = inputs(model, "right")

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**given)[0][1].square().mean().backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    if reentrant is not None:
        model.activation_checkpointing_enable({"use_reentrant": reentrant})
    with watch(model, outputs=True) as maps:
        found = gradients()
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, atol=1e-5, rtol=1e-4)
    assert len(maps.passes) == 1  # the second forward of checkpointing is not another pass
    assert not any(m.logsumexp.requires_grad for m in maps.values())
    assert not any(r.output.requires_grad for r in maps.records.values())


def test_statistics_of_a_training_pass_change_no_gradient(tiny, inputs):
    model = tiny("llama").train()
    given = inputs(model, "right")
    gradients = []
    for options in ({}, {"keep": "statistics", "measure": Measure(top_k=3, entropy=True)}):
        model.zero_grad()
        with watch(model, **options) as maps:
            model(**given).logits.square().mean().backward()
        gradients.append([p.grad for p in model.parameters()])
        entropies = [seen.entropy() for seen in maps.values()]
        assert not any(one.requires_grad for one in entropies)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def without_dropout(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for attribute in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)


def test_map_shows_the_weights_before_dropout(tiny, inputs):
    model = tiny("gpt2").train()
    for block in model.transformer.h:
        block.attn.attn_dropout.p = 0.9
    with torch.no_grad(), watch(model, outputs=True) as maps:
        model(**inputs(model))
    first = maps["transformer.h.0.attn"]
    torch.testing.assert_close(first.dense().sum(-1), torch.ones(2, 4, 11))
    output = maps.records["transformer.h.0.attn"].output
    assert not torch.allclose(output, first.dense() @ first.problem.value)  # but it was applied


def test_maps_survive_an_optimizer_step(tiny, inputs):
    model = tiny("gpt-oss")
    with watch(model) as maps:
        model(**inputs(model)).logits.square().mean().backward()
    before = [m.dense() for m in maps.values()]
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    for old, seen in zip(before, maps.values(), strict=True):
        assert torch.equal(old, seen.dense())
