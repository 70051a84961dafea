"""Written token by token, as the model's own `generate` does, with the weights of the cache."""

import pytest
import torch

import _tiny_models as tiny
from eyeline._errors import EyelineError
from eyeline.generating import generate, sample
from eyeline.readings import read

PROMPT = "the cat sat on"


@pytest.mark.parametrize(
    "family", ["gpt2", "llama", "mistral", "gemma2", "qwen3", "our gpt2", "our llama"]
)
def test_greedy_is_generate(family):
    loaded, theirs = tiny.named(family), tiny.loaded(family.removeprefix("our "))
    ids = theirs.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = theirs.network.generate(ids, max_new_tokens=8, do_sample=False)[0]
    written = list(generate(loaded, PROMPT, max_new_tokens=8, temperature=0))
    assert [t.token.id for t in written] == expected[ids.shape[1] :].tolist()[: len(written)]


@pytest.mark.parametrize("family", ["gpt2", "llama", "our gpt2", "our llama"])
def test_the_weights_of_the_cache_are_those_of_the_whole_text(family):
    loaded = tiny.named(family)
    written = list(generate(loaded, PROMPT, max_new_tokens=6, temperature=0))
    ids = loaded.encode(PROMPT)["input_ids"] + [t.token.id for t in written]
    from eyeline.capture import watch

    with torch.no_grad(), watch(loaded.network) as maps:
        loaded.network(torch.tensor([ids]))
    for new in written:
        query = new.token.index - 1
        for n, (layer, one) in enumerate((r.layer, r.map) for r in maps.records.values()):
            expected = one[0, :, query, : query + 1]
            torch.testing.assert_close(new.weights[n], expected, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(
                new.row(layer, 1), expected[1].double(), atol=1e-5, rtol=1e-4
            )


def test_a_seed_repeats_itself_and_others_differ():
    loaded = tiny.loaded("gpt2")

    def write(seed):
        return [t.token.id for t in generate(loaded, PROMPT, max_new_tokens=12, seed=seed)]

    assert write(1) == write(1)
    assert len({tuple(write(seed)) for seed in range(5)}) > 1


def test_sampling_follows_temperature_and_top_p():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64))
    draws = torch.Generator().manual_seed(0)
    counts = torch.zeros(4)
    for _ in range(4000):
        counts[sample(logits, 1.0, 1.0, draws)[0]] += 1
    torch.testing.assert_close(counts / 4000, logits.exp().float(), atol=0.03, rtol=0)
    kept = {sample(logits, 1.0, 0.7, draws)[0] for _ in range(300)}
    assert kept == {0, 1}
    token, probability = sample(logits, 1.0, 0.7, draws)
    assert probability == pytest.approx([0.625, 0.375][token])
    assert {sample(logits, 0.01, 1.0, draws)[0] for _ in range(50)} == {0}
    assert sample(logits, 0, 0.1, draws) == (0, 1.0)
    assert {sample(logits, 1.0, 1e-9, draws)[0] for _ in range(50)} == {0}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": -1}, "temperature=-1"),
        ({"top_p": 0}, "top_p=0"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_new_tokens": 10_000}, "more than the 64"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(EyelineError, match=message):
        generate(tiny.loaded("gpt2"), PROMPT, **options)


def test_an_encoder_does_not_write():
    with pytest.raises(EyelineError, match="no decoder"):
        generate(tiny.loaded("bert"), PROMPT)


def test_a_reading_of_what_was_written_is_made_of_the_same_tokens():
    loaded = tiny.loaded("gpt2")
    written = list(generate(loaded, PROMPT, max_new_tokens=3, temperature=0))
    text = loaded.tokenizer.decode(
        loaded.tokenizer(PROMPT)["input_ids"] + [t.token.id for t in written]
    )
    assert read(text, loaded).text.startswith(PROMPT)
