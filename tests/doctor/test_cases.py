"""Questions that tell mistakes apart: sizes that differ, scores that do not saturate."""

import torch

from eyeline.doctor._cases import Case, Sizes, attention_inputs, fingerprint, normal, random_mask


def test_no_two_sizes_are_alike():
    z = Sizes()
    sizes = [z.batch, z.num_heads, z.q_len, z.kv_len, z.head_dim, z.value_dim]
    assert len(set(sizes)) == len(sizes)


def test_numbers_do_not_depend_on_the_callers_generator():
    torch.manual_seed(1)
    one = normal(3, 4, seed=5)
    torch.manual_seed(2)
    assert torch.equal(one, normal(3, 4, seed=5)) and one.dtype == torch.float64


def test_scores_neither_saturate_nor_vanish():
    for scale in (None, 0.1, 1.0):
        s = attention_inputs(Sizes(), scale=scale)
        deviation = float((s["query"] @ s["key"].mT * s["scale"]).std())
        assert 0.7 < deviation < 3


def test_rows_of_a_mask_see_some_and_miss_some():
    mask = random_mask(4, 6, 7, seed=1, empty=True)
    seen = mask.sum(-1)[:, 0]
    assert seen[0, -2] == 0  # the one that sees nothing
    seen[0, -2] = 1
    assert seen.min() >= 1 and seen.max() < 7


def test_the_same_question_has_the_same_print():
    inputs = attention_inputs(Sizes())
    assert fingerprint(Case("a", inputs)) == fingerprint(Case("b", attention_inputs(Sizes())))
    other = attention_inputs(Sizes(), seed=9)
    assert fingerprint(Case("a", inputs)) != fingerprint(Case("a", other))
