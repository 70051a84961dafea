"""Every known mistake is rejected and named, by questions that no other mistake answers so."""

from itertools import combinations

import pytest
import torch
from torch import nn

from eyeline.doctor import KINDS, check
from eyeline.doctor.forging import forge_variant
from eyeline.doctor.options import Options

STATED = {
    "attention": {"mask": "attend", "causal": "bottom-right", "empty_rows": "zero"},
    "grouped attention": {"mask": "attend"},
    "multi-head attention": {"mask": "attend", "empty_rows": "zero"},
    "decoding": {"layout": "BHLD"},
    "block": {"norm_first": True},
    "causal mask": {"mask": "attend", "causal": "bottom-right"},
    "padding mask": {"mask": "attend"},
    "sinusoids": {"pairing": "interleaved"},
    "rotary positions": {"pairing": "halves", "layout": "BHLD"},
}
GROUPED = {
    "key heads tiled instead of interleaved",
    "value heads grouped otherwise than key heads",
}
PADDED = "padded queries masked instead of padded keys"
LAST = "norms before the sublayers instead of behind the sums"
VARIANTS = [
    (what, variant)
    for what, kind in KINDS.items()
    for variant in kind.recipe.singles()
    if what != "grouped attention"
]


def padded(attend):
    """The same function, told of padding [batch, keys] instead of a mask."""

    def attention(query, key, value, key_padding_mask=None):
        mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None]
        mask = None if mask is None else mask.expand(-1, 1, query.shape[2], -1)
        return attend(query, key, value, mask)

    return attention


def padded_module(module):
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.q_proj, self.k_proj, self.v_proj = module.q_proj, module.k_proj, module.v_proj
            self.o_proj, self.num_heads, self.inner = module.o_proj, 3, [module]

        def forward(self, x, key_padding_mask=None):
            inner = self.inner[0]
            inner.q_proj, inner.k_proj = self.q_proj, self.k_proj
            inner.v_proj, inner.o_proj = self.v_proj, self.o_proj
            mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None]
            mask = None if mask is None else mask.expand(-1, 1, x.shape[1], -1)
            return inner(x, mask=mask)

    return Padded()


def diagnosed(what, variant):
    """The diagnosis of the variant, by the question that shows it."""
    (name,) = variant.names
    stated = dict(STATED.get(what, {}))
    candidate = forge_variant(what, variant)
    if name in GROUPED and what == "attention":
        return check(candidate, "grouped attention", mask="attend")
    if name in GROUPED:
        candidate = type(candidate)(candidate.recipe, candidate.wrong, 6, 2)
    if name == PADDED:
        candidate = padded(candidate) if what == "attention" else padded_module(candidate)
        stated = {"mask": "ignore"}
    if name == LAST:
        candidate = type(candidate)(candidate.recipe, candidate.wrong, norm_first=False)
        stated = {"norm_first": False}
    return check(candidate, what, **stated)


@pytest.mark.parametrize(
    "what, variant",
    VARIANTS,
    ids=[f"{what}: {v.names[0]} {v.values or ''}".strip() for what, v in VARIANTS],
)
def test_every_mistake_is_rejected_and_named(what, variant):
    diagnosis = diagnosed(what, variant)
    assert not diagnosis.ok
    assert len(diagnosis.explanations) == 1, diagnosis.name
    (together,) = diagnosis.explanations
    assert len(together) == 1, diagnosis.name
    named = {m.name for m in diagnosis.mistakes}
    assert variant.names[0] in named, diagnosis.name
    same = set(KINDS[what].recipe.same_as(variant.names[0])) if what in KINDS else set()
    assert named == {variant.names[0], *same}


@pytest.mark.parametrize("what", KINDS)
def test_without_a_mistake_it_is_right(what):
    diagnosis = check(forge_variant(what, None), what, **STATED.get(what, {}))
    assert diagnosis.ok, str(diagnosis)


def test_there_are_many_of_them():
    names = {(m.recipe, m.name) for kind in KINDS.values() for m in kind.recipe.mistakes}
    assert len(names) >= 200


@pytest.mark.parametrize("what", KINDS)
def test_every_mistake_can_be_read(what):
    for mistake in KINDS[what].recipe.mistakes:
        for words in (mistake.seen, mistake.symptom, mistake.fix):
            assert words.strip() and "\n" not in words, mistake.name


def cases_of(what, candidate, **stated):
    """The doctor's questions to a candidate, also those to one that needs equal sizes."""
    kind = KINDS[what]
    found = kind.conventions(what, candidate, Options(**stated), kind.recipe)
    first = {convention.tier: convention for convention in reversed(list(found))}
    return [case for c in first.values() for case in c.hypotheses[0].cases]


def all_cases_of(what):
    """With groups, padding and the other order of norms, where a kind knows them."""
    right = forge_variant(what, None)
    cases = cases_of(what, right, **STATED.get(what, {}))
    if what == "attention":
        cases += cases_of("grouped attention", right, mask="attend")
        cases += cases_of(what, padded(right))
    if what == "multi-head attention":
        cases += cases_of(what, type(right)(right.recipe, {}, 6, 2), mask="attend")
        cases += cases_of(what, padded_module(right))
    if what == "block":
        cases += cases_of(what, type(right)(right.recipe, {}, norm_first=False), norm_first=False)
    return cases


@pytest.mark.parametrize("what", [w for w in KINDS if w != "grouped attention"])
def test_equivalent_mistakes_coincide_and_no_others(what):
    recipe = KINDS[what].recipe
    cases = all_cases_of(what)
    results = {}
    for variant in recipe.singles():
        given = []
        for case in cases:
            try:
                with torch.no_grad():
                    state = recipe.run(case.inputs, variant.steps)
                given.append(getattr(state, recipe.result))
            except (RuntimeError, ValueError, IndexError, TypeError):
                given.append(None)
        results[variant.names[0], variant.values] = given
    listed = [names for names, _ in recipe.equivalent]
    for (one, mine), (other, theirs) in combinations(results.items(), 2):
        if one[0] == other[0]:
            continue
        together = any({one[0], other[0]} <= names for names in listed)
        apart = distance(mine, theirs, enough=1e-3)
        if together:
            assert apart < 1e-7, (one, other, apart)
        else:
            assert apart > 1e-3, (one, other, apart)


def distance(mine, theirs, enough):
    """How far two mistakes' answers lie apart, relative to their size; infinite if one has none.

    Above `enough` it looks no further.
    """
    most = 0.0
    for a, b in zip(mine, theirs, strict=True):
        if a is None and b is None:
            continue
        if a is None or b is None:
            continue  # shapes that cannot be: people's code may fail there or not
        if a.shape != b.shape or (a.isfinite() != b.isfinite()).any():
            return float("inf")
        size = max(1.0, float(a.nan_to_num(0, 0, 0).abs().max()))
        most = max(most, float((a - b).nan_to_num(0, 0, 0).abs().max()) / size)
        if most > enough:
            break
    return most
