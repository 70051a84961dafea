"""The page of mistakes is what the catalogue says."""

from pathlib import Path

from eyeline.doctor import KINDS
from eyeline.doctor.pages import mistakes_page

PAGE = Path(__file__).parents[2] / "docs" / "mistakes.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == mistakes_page(), (
        "make it anew: python -m eyeline.doctor.pages > docs/mistakes.md"
    )


def test_every_mistake_stands_there_once():
    page = mistakes_page()
    for kind in KINDS.values():
        for mistake in kind.recipe.mistakes:
            assert mistake.seen in page and mistake.symptom in page and mistake.fix in page
