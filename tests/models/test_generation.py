"""Writing, against `transformers.generate`."""

import pytest
import torch
import transformers as hf

import _hf_twin as twin
from eyeline.models.generation import Choice, Writer, choose, generate, steps

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}
MAKERS = {
    "llama": lambda: hf.LlamaForCausalLM(
        hf.LlamaConfig(**SIZES, num_key_value_heads=2, pad_token_id=0)
    ),
    "gpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=64, pad_token_id=0,
            bos_token_id=1, eos_token_id=2,
        )
    ),
    "t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(
            vocab_size=99, d_model=32, d_kv=8, d_ff=40, num_layers=2, num_heads=4,
            decoder_start_token_id=0, eos_token_id=2,
        )
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=MAKERS)
def pair(request, tmp_path_factory):
    """A model whose logits are far apart, so that rounding decides nothing; and its family."""
    network = twin.theirs(MAKERS[request.param], 1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "wte" in name or "embed_tokens" in name or "shared" in name or "lm_head" in name:
                parameter.mul_(5)
    network.generation_config.eos_token_id = None
    own = twin.ours(network, tmp_path_factory.mktemp(request.param))
    return network, own, request.param == "t5"


def both(pair, tokens, count, stop=(), **how):
    """What transformers writes, and what we do."""
    network, own, is_pair = pair
    ends = list(stop) or None
    theirs = network.generate(
        tokens, max_new_tokens=count, eos_token_id=ends, pad_token_id=0,
        attention_mask=torch.ones_like(tokens), **how,
    )  # fmt: skip
    rows = tokens.tolist()
    prompts, source = ([[0]] * len(rows), rows) if is_pair else (rows, None)
    ours = {k: v for k, v in how.items() if k in ("num_beams", "length_penalty")}
    found = generate(own, prompts, count, source=source, stop=stop, **ours)
    before = 1 if is_pair else tokens.shape[1]
    expected = [row[before:].tolist() for row in theirs]
    # transformers fills up what has ended
    return found, [
        row[: next((n for n, t in enumerate(row) if t in stop), len(row)) + 1] for row in expected
    ]


def test_greedy(pair):
    found, expected = both(pair, twin.tokens(0, 3, 6), 20, do_sample=False)
    assert found == expected and len(found[0]) == 20


def test_greedy_stops(pair):
    tokens = twin.tokens(0, 3, 6)
    (first, *_), _ = both(pair, tokens, 20, do_sample=False)
    found, expected = both(pair, tokens, 20, stop=(first[4], first[11]), do_sample=False)
    assert found == expected and len(found[0]) <= 12


@pytest.mark.parametrize("num_beams", [2, 4])
@pytest.mark.parametrize("length_penalty", [1.0, 0.0, 2.0])
@pytest.mark.parametrize("stops", [0, 6])
def test_beams(pair, num_beams, length_penalty, stops):
    how = {"num_beams": num_beams, "length_penalty": length_penalty, "do_sample": False}
    stop = tuple(range(3, 3 + stops))
    for seed in range(2):
        found, expected = both(pair, twin.tokens(seed, 1, 5), 9, stop=stop, **how)
        assert found == expected, seed


def test_prompts_of_different_lengths(pair):
    _, own, is_pair = pair
    rows = [twin.tokens(n, n + 1).tolist() for n in range(4)]
    prompts, sources = ([[0]] * 4, rows) if is_pair else (rows, None)
    found = generate(own, prompts, 8, source=sources)
    for n, row in enumerate(rows):
        one = ([[0]], [row]) if is_pair else ([row], None)
        assert generate(own, one[0], 8, source=one[1]) == [found[n]]


def test_a_cache_is_only_a_shortcut(pair):
    _, own, is_pair = pair
    tokens = twin.tokens(3, 1, 5)
    prompt = torch.zeros(1, 1, dtype=torch.long) if is_pair else tokens
    source = tokens.tolist() if is_pair else None
    (found,) = generate(own, prompt.tolist(), 10, source=source)
    with torch.no_grad():
        for _ in range(10):
            logits = own(tokens, prompt) if is_pair else own(prompt)
            prompt = torch.cat([prompt, logits[:, -1:].argmax(-1)], 1)
    assert prompt[0, -10:].tolist() == found


def test_draws_are_those_of_the_seed(pair):
    _, own, is_pair = pair
    tokens = twin.tokens(3, 2, 5).tolist()
    prompts, source = ([[0], [0]], tokens) if is_pair else (tokens, None)

    def write(seed, **how):
        return generate(own, prompts, 12, Choice(5.0, seed=seed, **how), source=source)

    assert write(1) == write(1) != write(2)
    state = torch.get_rng_state()
    assert write(None) != write(None)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's numbers are used up
    assert write(4, top_k=1) == generate(own, prompts, 12, source=source)
    assert write(4, top_p=1e-9) == generate(own, prompts, 12, source=source)


def test_streaming_is_step_by_step(pair):
    _, own, is_pair = pair
    tokens = twin.tokens(3, 2, 5).tolist()
    prompts, source = ([[0], [0]], tokens) if is_pair else (tokens, None)
    whole = generate(own, prompts, 7, source=source)
    writing = steps(own, prompts, 7, source=source)
    first = next(writing)
    assert first.tolist() == [row[0] for row in whole]
    assert torch.is_grad_enabled()  # between steps the caller's settings hold
    assert [one.tolist() for one in writing] == [[row[n] for row in whole] for n in range(1, 7)]


LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 3.0]])


def shares(choice, count=4000):
    generator = choice.generator(torch.device("cpu"))
    drawn = choose(LOGITS.expand(count, 5), choice, generator)
    return torch.bincount(drawn, minlength=5) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature(temperature):
    expected = (LOGITS[0] / temperature).softmax(-1)
    assert torch.allclose(shares(Choice(temperature, seed=0)), expected, atol=0.03)


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({"top_k": 2}, [4, 0]),
        ({"top_k": 99}, [4, 0, 1, 2, 3]),
        ({"top_p": 0.6}, [4]),  # 0.64 by itself
        ({"top_p": 0.7}, [4, 0]),
        ({"top_p": 0.9, "top_k": 3}, [4, 0]),  # of those three together, these have 0.91
        ({"top_p": 1.0}, [4, 0, 1, 2, 3]),
    ],
)
def test_top_k_and_top_p(how, kept):
    expected = torch.zeros(5)
    expected[kept] = LOGITS[0][kept].softmax(-1)
    assert torch.allclose(shares(Choice(1.0, seed=0, **how)), expected, atol=0.03)
    warpers = []
    if "top_k" in how:
        warpers.append(hf.TopKLogitsWarper(min(how["top_k"], 5)))
    if "top_p" in how:
        warpers.append(hf.TopPLogitsWarper(how["top_p"]))
    theirs = LOGITS
    for warper in warpers:
        theirs = warper(None, theirs)
    assert torch.equal((theirs > -torch.inf)[0], expected > 0)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
    ],
)
def test_wrong_choices(how, said):
    with pytest.raises(ValueError, match=said):
        Choice(**how)


def test_wrong_calls(pair):
    _, own, _ = pair
    with pytest.raises(ValueError, match="every prompt needs at least one token"):
        Writer(own, [[3], []])
    with pytest.raises(ValueError, match="every prompt needs"):
        Writer(own, [])
    for how, said in (({"num_beams": 0}, "num_beams"), ({"num_beams": 2}, "draws nothing")):
        with pytest.raises(ValueError, match=said):
            generate(own, [[3]], 2, Choice(1.0), **how)
    assert generate(own, [[3]], 0, source=[[3]] if pair[2] else None) == [[]]
    assert generate(own, [[3]], 0, source=[[3]] if pair[2] else None, num_beams=2) == [[]]
