"""docs/mistakes.md, out of the catalogue: `python -m eyeline.doctor.pages > docs/mistakes.md`."""

from collections.abc import Iterator

from eyeline.doctor.kinds import KINDS, Kind
from eyeline.doctor.recipe import Mistake

__all__ = ["mistakes_page"]

_HEAD = """# Mistakes that the doctor knows

What people write instead of attention, one by one: how it looks in the wild, what one notices, and
a question that leads to the remedy. `eyeline check` names them; `eyeline.doctor.forge(kind, name)`
makes a candidate that has one.

This page is made from `src/eyeline/doctor/catalogue/` (`python -m eyeline.doctor.pages`); a test
holds that it is up to date, another one that every mistake here is found and named.
"""


def mistakes_page() -> str:
    """The page, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    kinds = [kind for kind in KINDS.values() if kind.name != "grouped attention"]
    total = sum(len(_own(kind)) for kind in kinds)
    yield f"{total} mistakes in {len(kinds)} kinds:\n"
    for kind in kinds:
        yield f"- [{kind.name}](#{_anchor(kind.name)}): {len(_own(kind))}"
    for kind in kinds:
        yield f"\n## {kind.name.capitalize()}\n"
        yield f"Right: {kind.recipe.about}. A candidate is called as `{kind.signature}`."
        if len(_own(kind)) < len(kind.recipe.mistakes):
            yield "Mistakes in attention can be made here as well."
        for mistake in _own(kind):
            yield from _entry(mistake, kind)


def _own(kind: Kind) -> list[Mistake]:
    """Its mistakes without those that it shares with attention."""
    return [m for m in kind.recipe.mistakes if m.recipe == kind.recipe.name]


def _entry(mistake: Mistake, kind: Kind) -> Iterator[str]:
    yield f"\n### {mistake.name[0].upper()}{mistake.name[1:]}\n"
    yield f"```python\n{mistake.seen}\n```\n"
    yield f"{mistake.symptom} *{mistake.fix}*"
    notes = []
    if mistake.source:
        notes.append(f"Source: {mistake.source}.")
    for names, why in kind.recipe.equivalent:
        if mistake.name in names:
            others = ", ".join(f"“{n}”" for n in kind.recipe.same_as(mistake.name))
            notes.append(f"The same numbers as {others}: {why}.")
    if notes:
        yield "\n" + " ".join(notes)


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


if __name__ == "__main__":
    print(mistakes_page(), end="")
