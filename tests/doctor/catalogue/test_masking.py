"""Masks inside attention: what each mistake lets through or takes away."""

import torch

from eyeline.doctor._cases import Sizes, attention_inputs, random_mask
from eyeline.doctor.catalogue import ATTENTION


def outputs(name):
    """The case, what is right, and what the mistake of that name gives."""
    case = attention_inputs(Sizes(), mask=random_mask(2, 5, 7, seed=3, empty=False))
    (variant,) = (v for v in ATTENTION.singles() if v.names == (name,))
    return case, ATTENTION.run(case), ATTENTION.run(case, variant.steps)


def test_nobody_sees_what_is_masked():
    case, right, _ = outputs("mask inverted")
    other = dict(case, value=case["value"].clone())
    hidden = ~case["mask"][0, 0, 1]
    other["value"][0, :, hidden] += 100
    torch.testing.assert_close(right.context[0, :, 1], ATTENTION.run(other).context[0, :, 1])


def test_an_inverted_mask_is_right_with_the_opposite():
    case, _, wrong = outputs("mask inverted")
    opposite = ATTENTION.run(dict(case, mask=~case["mask"]))
    torch.testing.assert_close(wrong.context, opposite.context)
