"""docs/practice.md and drill.md hold what the sources say; EYELINE_PAGES=1 writes them anew."""

import os
from pathlib import Path

import pytest

from eyeline.learn.pages import GENERATED, drill_page, practice_page

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize(("name", "page"), [("practice", practice_page), ("drill", drill_page)])
def test_the_generated_part_is_up_to_date(name, page):
    path = DOCS / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    head = text.split(GENERATED)[0].rstrip("\n") + "\n\n"
    wanted = head + GENERATED + "\n" + page()
    if os.environ.get("EYELINE_PAGES"):
        path.write_text(wanted, encoding="utf-8")
        text = wanted
    assert text == wanted, "run EYELINE_PAGES=1 pytest tests/learn/test_pages.py, and commit"


def test_every_command_is_documented():
    from eyeline.learn.drill.cli import drill
    from eyeline.learn.practice.cli import practice

    for app, name in ((practice, "practice"), (drill, "drill")):
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        for command in app.registered_commands:
            called = command.name or command.callback.__name__
            assert f"eyeline {name} {called}" in text
