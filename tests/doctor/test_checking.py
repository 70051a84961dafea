"""No false alarms, named mistakes with their evidence, and bad input in a beginner's words."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import _right_attention as right
import eyeline
from eyeline import EyelineError, check


def name_of(candidate):
    return getattr(candidate, "__name__", type(candidate).__name__)


@pytest.mark.parametrize("candidate", right.FUNCTIONS, ids=name_of)
def test_right_functions(candidate):
    diagnosis = check(candidate)
    assert diagnosis.ok, str(diagnosis)
    assert diagnosis.name is None and diagnosis.mistakes == ()


@pytest.mark.parametrize("candidate", right.MODULES, ids=name_of)
def test_right_modules(candidate):
    diagnosis = check(candidate)
    assert diagnosis.ok, str(diagnosis)


@pytest.mark.parametrize(
    "candidate, called",
    [
        (right.inverse_polarity, "must not attend"),
        (right.additive, "added to the scores"),
        (right.ones_and_zeros, "1 = may attend"),
        (right.plain, "True = may attend"),
    ],
)
def test_the_polarity_of_a_mask_is_found_or_stated(candidate, called):
    assert called in check(candidate).called["mask"]
    if candidate is right.inverse_polarity:
        assert check(candidate, mask="ignore").ok
        assert check(candidate, mask="attend").name == "mask inverted"


def test_hugging_face_modules():
    transformers = pytest.importorskip("transformers")
    from transformers.models.bert.modeling_bert import BertSelfAttention
    from transformers.models.gpt2.modeling_gpt2 import GPT2Attention
    from transformers.models.llama.modeling_llama import LlamaAttention

    for how in ("eager", "sdpa"):
        bert = transformers.BertConfig(hidden_size=12, num_attention_heads=3)
        bert._attn_implementation = how
        diagnosis = check(BertSelfAttention(bert))
        assert diagnosis.ok, str(diagnosis)
    gpt2 = transformers.GPT2Config(n_embd=12, n_head=3, n_positions=160)
    gpt2._attn_implementation = "sdpa"
    diagnosis = check(GPT2Attention(gpt2, layer_idx=0))
    assert diagnosis.ok, str(diagnosis)
    llama = transformers.LlamaConfig(
        hidden_size=24, num_attention_heads=6, num_key_value_heads=2, head_dim=4
    )
    llama._attn_implementation = "sdpa"

    def unturned(module, x):
        cos = torch.ones(1, x.shape[1], 4, dtype=x.dtype)
        return module(x, position_embeddings=(cos, torch.zeros_like(cos)), attention_mask=None)

    diagnosis = check(LlamaAttention(llama, layer_idx=0), adapter=unturned)
    assert diagnosis.ok, str(diagnosis)


def test_a_named_mistake_has_its_number():
    def wrong(q, k, v):
        return torch.softmax(q @ k.mT / math.sqrt(q.size(1) * q.size(-1)), -1) @ v

    diagnosis = check(wrong)
    assert not diagnosis.ok and diagnosis.name == "scaled by 1/√embed_dim"
    (evidence,) = diagnosis.evidence
    assert len(evidence.index) == 4 and evidence.axes == ("batch", "heads", "queries", "width")
    assert re.search(
        r"position \[\d, \d, \d, \d\] .* is -?[\d.]+, expected -?[\d.]+", str(evidence)
    )
    assert evidence.found != evidence.expected
    # the number is the candidate's own, and the right one is what torch computes
    from eyeline.doctor._cases import Sizes, attention_inputs

    s = attention_inputs(Sizes(), seed=1)
    sides = s["query"], s["key"], s["value"]
    assert wrong(*sides)[evidence.index] == pytest.approx(evidence.found)
    expected = F.scaled_dot_product_attention(*sides)[evidence.index]
    assert float(expected) == pytest.approx(evidence.expected)


def test_two_mistakes_are_both_named():
    def wrong(q, k, v, mask=None):
        scores = q @ k.mT
        if mask is not None:
            scores = scores.masked_fill(~mask, -1)
        return torch.softmax(scores, -1) @ v

    diagnosis = check(wrong, mask="attend")
    assert diagnosis.name == "not scaled and masked scores set to a small number"


def test_what_cannot_be_told_apart_is_named_together():
    def wrong(q, k, v, mask=None):
        scores = q @ k.mT / math.sqrt(q.size(-1))
        return torch.softmax(scores if mask is None else scores * mask, -1) @ v

    diagnosis = check(wrong, mask="attend")
    names = {mistake.name for mistake in diagnosis.mistakes}
    assert {"masked scores set to 0", "scores multiplied by the mask"} <= names
    assert len(diagnosis.explanations) == 1


def test_an_unknown_mistake_is_called_one_and_narrowed_down():
    def odd(q, k, v):
        return torch.softmax(1.1 * (q @ k.mT) / math.sqrt(q.size(-1)), -1) @ v

    diagnosis = check(odd)
    assert diagnosis.name == "unknown mistake" and not diagnosis.mistakes
    text = str(diagnosis)
    assert "scores are multiplied by 0.55, expected 0.5" in text
    assert "smallest failing shape: batch 1, heads 1, queries 1, keys 2, width 1" in text


def test_a_scale_of_ones_own():
    def unscaled(q, k, v):
        return torch.softmax(q @ k.mT, -1) @ v

    assert check(unscaled).name == "not scaled"
    assert check(unscaled, scale=1.0).ok


def test_rows_that_may_see_nothing_are_remarked_or_judged():
    diagnosis = check(right.plain)
    assert diagnosis.ok and any("NaN" in remark for remark in diagnosis.remarks)
    stated = {"empty_rows": "zero", "mask": "attend"}
    assert check(right.plain, **stated).name == "NaN where nothing may be seen"
    even = check(right.annotated, **stated)
    assert even.name == "mean of everything where nothing may be seen"
    assert check(right.ours, empty_rows="zero").ok


# -- bad input -----------------------------------------------------------------------------------


def raises(q, k, v):
    raise RuntimeError("something broke")


def returns_none(q, k, v):
    torch.softmax(q @ k.mT, -1) @ v


def wrong_shape(q, k, v):
    return (torch.softmax(q @ k.mT, -1) @ v).mT


def gives_weights(q, k, v):
    return torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), -1)


def no_tensor(q, k, v):
    return "done"


def a_list(q, k, v):
    return [1.0, 2.0]


def gives_nan(q, k, v):
    return right.plain(q, k, v) * torch.nan


def changes_inputs(q, k, v):
    q /= math.sqrt(q.size(-1))
    return torch.softmax(q @ k.mT, -1) @ v


def random(q, k, v):
    return F.dropout(torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), -1), 0.5) @ v


@pytest.mark.parametrize(
    "candidate, problem, words",
    [
        (raises, "raises", ["RuntimeError: something broke", "in raises", "adapter="]),
        (returns_none, "returns nothing", ["None", "`return`"]),
        (wrong_shape, "wrong shape", ["expected [batch 2, heads 3, queries 5", "adapter="]),
        (gives_weights, "wrong shape", ["axis 3 should be width (6) and is 7", "number of keys"]),
        (no_tensor, "returns no numbers", ["str 'done'", "expected a tensor", "adapter="]),
        (a_list, "returns no numbers", ["a list of 2", "expected a tensor"]),
        (gives_nan, "gives NaN", ["is nan, expected", "0/0"]),
        (changes_inputs, "changes its inputs", ["in place", "copy"]),
        (random, "another answer each time", ["dropout"]),
    ],
    ids=name_of,
)
def test_bad_candidates_get_a_sentence(candidate, problem, words):
    diagnosis = check(candidate)
    assert not diagnosis.ok and diagnosis.name == problem, str(diagnosis)
    for word in words:
        assert word in str(diagnosis), str(diagnosis)


def needs_gpu(q, k, v):
    return right.plain(q.cuda(), k.cuda(), v.cuda())


def mystery(one):
    return one


def stranger(q, k, v, rel_pos):
    return right.plain(q, k, v)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: check(needs_gpu), "GPU"),
        (lambda: check(mystery), "I cannot tell from mystery"),
        (lambda: check(stranger), "rel_pos.*adapter="),
        (lambda: check(3), "cannot be called"),
        (lambda: check(right.plain, "atention"), "choose one of attention"),
        (lambda: check(right.plain, mask="yes"), "choose one of 'attend'"),
        (lambda: check(right.plain, norm_first=True), "means nothing for what='attention'"),
        (lambda: check(right.plain, adapter=3), "adapter is a function"),
        (lambda: check(nn.Linear(3, 3)), "projections"),
    ],
)
def test_what_cannot_be_checked_is_one_clear_line(call, words):
    if torch.cuda.is_available() and words == "GPU":
        pytest.skip("there is a GPU here")
    with pytest.raises(EyelineError) as error:
        call()
    assert re.search(words, str(error.value)) and "\n" not in str(error.value)


def test_an_adapter_says_how_to_call():
    def with_context(context, q, k, v):
        return {"result": right.plain(q, k, v)}

    diagnosis = check(with_context, adapter=lambda f, q, k, v: f("x", q, k, v)["result"])
    assert diagnosis.ok, str(diagnosis)


def test_the_candidate_stays_as_it_was():
    module = nn.MultiheadAttention(12, 3, dropout=0.5).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    check(module)
    assert module.training and torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() is torch.float32
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_weights_that_are_passed():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.everything = nn.ParameterDict(
                {name: nn.Parameter(torch.randn(12, 12)) for name in ("a", "b", "c", "d")}
            )

        def forward(self, x):
            w = self.everything
            q, k, v = ((x @ w[n].T).view(2, -1, 3, 4).transpose(1, 2) for n in "abc")
            out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return out @ w["d"].T

    module = Hidden()
    w = module.everything
    weights = {"query": w["a"], "key": w["b"], "value": w["c"], "output": w["d"]}
    with pytest.raises(EyelineError, match=r"weights=\{'query'"):
        check(module)
    assert check(module, weights=weights, num_heads=3).ok
    swapped = {**weights, "key": w["a"], "query": w["b"]}
    assert not check(module, weights=swapped, num_heads=3).ok


def test_it_is_public():
    assert eyeline.check is check
