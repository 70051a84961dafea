"""Mistakes that give the same numbers: they are in the catalogue, and say why."""

from eyeline.doctor import KINDS
from eyeline.doctor.catalogue import EQUIVALENT


def test_every_group_names_mistakes_that_exist_and_a_reason():
    names = {m.name for kind in KINDS.values() for m in kind.recipe.mistakes}
    groups = [g for kind in KINDS.values() for g in kind.recipe.equivalent]
    assert EQUIVALENT and groups
    for group, reason in groups:
        assert len(group) >= 2 and group <= names and len(reason) > 10
