"""What is known about two real models: `pytest -m real tests/test_real.py`."""

from functools import cache

import pytest
import torch

from eyeline import models
from eyeline._errors import EyelineError
from eyeline.capture.loading import LoadedModel, load_huggingface
from eyeline.heads import HeadReport
from eyeline.models import resolve
from eyeline.models.generation import generate
from eyeline.readings import Reading, load, read

pytestmark = pytest.mark.real

TIRED = "The animal didn't cross the street because it was tired"


@cache
def model(name: str) -> LoadedModel:
    try:
        models.get(name)
    except EyelineError as error:
        pytest.skip(f"{name} cannot be had: {error}")
    return load(name)


@cache
def theirs_of(name: str) -> LoadedModel:
    """The same on transformers' network."""
    return load_huggingface(resolve(name), name)


def weight(reading: Reading, layer: int, head: int, query: str, key: str) -> float:
    look = reading.look(query, layer=layer, head=head)
    return next(s.mean for s in look.shares() if s.key.label == key)


class TestMiniLM:
    @pytest.fixture
    def reading(self):
        return read(TIRED, model("minilm"))

    def test_it_looks_at_the_animal(self, reading):
        assert weight(reading, 3, 1, "it", "animal") == pytest.approx(0.66, abs=0.005)
        assert weight(reading, 5, 11, "it", "animal") == pytest.approx(0.65, abs=0.005)
        edges = [e for e in reading.look("it").edges(50) if e.key.label == "animal"]
        assert [(e.layer, e.head) for e in edges[:2]] == [(3, 1), (5, 11)]
        sentence = reading.look("it", layer=3, head=1).sentence()
        assert sentence.startswith("it looks at animal 66 %")

    def test_what_it_means_changes_the_look(self):
        tired = read(TIRED.replace("tired", "too tired"), model("minilm"))
        wide = read(TIRED.replace("tired", "too wide"), model("minilm"))
        assert weight(tired, 3, 1, "it", "animal") == pytest.approx(0.64, abs=0.005)
        assert weight(wide, 3, 1, "it", "animal") == pytest.approx(0.27, abs=0.005)

    def test_the_previous_token_head(self, reading):
        report = next(r for r in reading.heads() if (r.layer, r.head) == (0, 2))
        assert report.label == "previous"
        assert report.scores["previous"] == pytest.approx(1.0, abs=0.005)

    def test_steps_equal_the_model_in_every_head(self, reading):
        for layer, seen in reading.encoder.items():
            for head in range(seen.shape[1]):
                check = reading.steps(layer, head, "it").verify()
                assert check.max_delta <= 1e-5, (layer, head, check.by_stage)
                assert check.taken_from_model == ()

    def test_hidden_states_equal_transformers(self):
        ours, theirs = model("minilm"), theirs_of("minilm")
        for text in (TIRED, "word", "it was tired " * 60):
            found, expected = (m.run(m.inputs(m.encode(text))) for m in (ours, theirs))
            assert (found - expected).abs().max() <= 1e-5


class TestSmolLM2:
    def test_logits_equal_transformers(self):
        ours, theirs = model("smollm2"), theirs_of("smollm2")
        for text in (TIRED, "word", "def f(x):\n    return x" * 30):
            found, expected = (m.run(m.inputs(m.encode(text))) for m in (ours, theirs))
            assert (found - expected).abs().max() <= 1e-3

    @pytest.mark.parametrize("prompt", ["The capital of France is", TIRED, "Once upon a time"])
    def test_a_hundred_greedy_tokens_are_the_same(self, prompt):
        ours, theirs = model("smollm2"), theirs_of("smollm2")
        tokens = ours.encode(prompt).ids
        (found,) = generate(ours.network, [tokens], 100)
        expected = theirs.network.generate(
            torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens)),
            max_new_tokens=100,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert found == expected[0, len(tokens) :].tolist()

    def test_it_looks_at_the_animal(self):
        reading = read(TIRED, model("smollm2"))
        assert weight(reading, 13, 8, "it", "animal") == pytest.approx(0.75, abs=0.005)
        for layer, head in ((0, 0), (13, 8), (27, 3), (29, 4)):
            check = reading.steps(layer, head, "it").verify()
            # in the last layers numbers are in the hundreds: rounding is relative to that
            assert check.ok and check.max_delta <= 1e-4, check.by_stage
            assert check.taken_from_model == ()

    def test_the_next_token(self):
        (said,) = read("The capital of France is", model("smollm2")).predictions
        assert said.candidates[0][0] == " Paris"

    def test_induction_heads(self):
        reports = self.reports()
        for place, score in {(18, 6): 0.91, (17, 3): 0.79}.items():
            assert reports[place].label == "induction"
            assert reports[place].scores["induction"] == pytest.approx(score, abs=0.02)

    @staticmethod
    def reports() -> dict[tuple[int, int], HeadReport]:
        """Of random words, twice: only who looks for repetition can find anything."""
        loaded = model("smollm2")
        vocabulary = loaded.tokenizer.get_vocab()
        words = sorted(w for w in vocabulary if w[0] == "Ġ" and w[1:].isascii() and w[1:].isalpha())
        chosen = torch.randperm(len(words), generator=torch.Generator().manual_seed(1))[:25]
        half = "".join(words[i].replace("Ġ", " ") for i in chosen)
        reading = read(half + half, loaded, layers=[17, 18])
        assert [t.id for t in reading.tokens[:25]] == [t.id for t in reading.tokens[25:]]
        return {(r.layer, r.head): r for r in reading.heads()}
