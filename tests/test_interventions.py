"""What is taken out is taken out, and nothing else; the model is as it was afterwards."""

import pytest
import torch

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.capture.projections import find_projections
from eyeline.interventions import Ablate, Cut, intervene, value_norms
from eyeline.readings import Reading, read

TEXT = "the cat sat on the mat"
OURS = ["our bert", "our gpt2", "our llama", "our t5", "our transformer"]


def is_pair(family):
    return family.removeprefix("our ") in (*tiny.PAIRS, "transformer")


def reading_of(family, text=TEXT):
    return read(text, tiny.named(family), **({"target": "the dog"} if is_pair(family) else {}))


def said(reading):
    return reading.loaded.run(reading.origin.inputs)


@pytest.mark.parametrize(
    "family", ["bert", "gpt2", "llama", "gemma2", "gpt-oss", "t5", "bart", *OURS]
)
def test_silencing_a_head_is_zeroing_its_part_of_w_o(family):
    reading = reading_of(family)
    kind, heads = reading.default_kind, reading.maps()[1].shape[1]
    outcome = intervene(reading, [Ablate(1, 2)])
    network, name = reading.loaded.network, reading.origin.names[kind, 1]
    parts = find_projections(network, name, heads, reading.maps()[1].problem.key.shape[1])
    weight = parts.output.module.weight
    width = parts.output.weight.shape[1] // heads
    columns = slice(2 * width, 3 * width)
    before = weight.detach().clone()
    with torch.no_grad():
        if hasattr(parts.output.module, "nf"):  # GPT-2 keeps [in, out]
            weight[columns] = 0
        else:
            weight[:, columns] = 0
        again = read(TEXT, reading.loaded, **({"target": "the dog"} if is_pair(family) else {}))
        changed = again.origin.said()
        weight.copy_(before)
    assert outcome.divergence > 0
    if outcome.kind == "embedding":
        assert outcome.moved is not None
        old, new = reading.origin.said(), changed
        moved = 1 - torch.nn.functional.cosine_similarity(old.double(), new.double(), dim=-1)
        torch.testing.assert_close(outcome.moved.double(), moved, atol=1e-6, rtol=1e-3)
    else:
        after = changed[-1].double().softmax(-1)
        for text, _, share in outcome.candidates[:3]:
            assert any(abs(float(a) - share) < 1e-5 for a in after), text


@pytest.mark.parametrize(
    "family", ["bert", "gpt2", "llama", "mistral", "qwen3", "albert", "t5", *OURS]
)
def test_a_cut_edge_is_seen_no_more(family):
    """The weights of the query are the old ones without the key, to sum 1; others stay."""
    from eyeline.capture import watch
    from eyeline.interventions import _contexts

    text = "the cat sat on the [MASK]" if family == "albert" else TEXT
    reading = reading_of(family, text)
    kind = reading.default_kind
    old = reading.maps(kind)[0][0].clone()
    query, key = 4, 2
    (context,) = _contexts(reading, [Cut(0, 1, query, key)])
    with watch(reading.loaded.network) as maps, context:
        reading.loaded.run(reading.origin.inputs)
    new = next(r.map for r in maps.records.values() if r.kind == kind and r.layer == 0)[0]
    expected = old.clone()
    expected[1, query, key] = 0
    total = expected[1, query].sum()
    if total > 0:
        expected[1, query] /= total
    torch.testing.assert_close(new, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", *OURS])
def test_afterwards_the_model_is_as_it_was(family):
    reading = reading_of(family)
    before = said(reading)
    intervene(reading, [Ablate(0, 0), Ablate(1, 3), Cut(1, 2, 3, 1)])
    after = said(reading)
    assert torch.equal(before, after)


def test_nothing_changes_where_nothing_is_seen():
    reading = reading_of("mistral")  # a window of 4: token 5 does not see token 0
    assert reading.decoder[1][0, 2, 5, 0] == 0
    outcome = intervene(reading, [Cut(1, 2, 5, 0)])
    assert outcome.divergence < 1e-12


def test_masked_models_are_compared_at_the_mask():
    outcome = intervene(reading_of("bert-mlm", "the cat sat on the [MASK]"), [Ablate(1, 0)])
    assert outcome.kind == "masked" and outcome.position is not None and outcome.divergence > 0
    with pytest.raises(EyelineError, match=r"write \[MASK\]"):
        intervene(reading_of("bert-mlm"), [Ablate(1, 0)])


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", *OURS[:3]])
def test_what_the_keys_carry_adds_up_to_the_heads_output(family):
    reading = reading_of(family)
    kind = reading.default_kind
    steps = reading.steps(1, 2, 4)
    norms = value_norms(reading, 1, 2, 4)
    values = steps.stages[[s.name for s in steps.stages].index("value")].values
    width = values.shape[1]
    mixing = steps.arithmetic.linear["output"].weight[:, 2 * width : 3 * width].double()
    carried = (steps["weights"].values[:, None] * values) @ mixing.T
    torch.testing.assert_close(norms, carried.norm(dim=-1), atol=1e-6, rtol=1e-4)
    assert len(norms) == len(reading.key_tokens(kind))


@pytest.mark.parametrize(
    "change, message",
    [
        (Ablate(9, 0), "no encoder layer 9"),
        (Ablate(0, 9), "no head 9"),
        (Cut(0, 0, 99, 0), "no edge from 99"),
        (Ablate(0, 0, "cross"), "no cross attention"),
    ],
)
def test_what_does_not_exist(change, message):
    with pytest.raises(EyelineError, match=message):
        intervene(reading_of("bert"), [change])


def test_a_reading_from_a_file_has_no_model(tmp_path):
    reading_of("bert").save(tmp_path / "r.safetensors")
    with pytest.raises(EyelineError, match="loaded from a file"):
        Reading.load(tmp_path / "r.safetensors").intervene(Ablate(0, 0))


def test_it_can_be_stopped():
    class Enough(Exception):
        pass

    def tick(done, total):
        raise Enough

    with pytest.raises(Enough):
        reading_of("bert").intervene(Ablate(0, 0), tick=tick)
