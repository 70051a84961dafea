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


def test_what_the_readme_shows_is_what_comes_out():
    """The example of a named mistake, in README.md and docs/practice.md."""
    from rich.console import Console

    from eyeline.learn.judging import answers_of, compare, probes_of
    from eyeline.learn.master import find
    from eyeline.learn.practice.checking import Checked
    from eyeline.learn.practice.showing import render_verdict

    master = find("scale")
    exercise, probes = master.exercise, probes_of(master.exercise)
    mistake = next(one for one in exercise.mistakes if "num_heads" in one.name and "√n" in one.name)
    verdict = compare(exercise, probes, answers_of(exercise, mistake, probes))
    console = Console(width=110, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(render_verdict(Checked(master, verdict)))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    for path in (DOCS / "practice.md", DOCS.parent / "README.md"):
        text = path.read_text(encoding="utf-8")
        assert "\n".join(lines[:5]) in text, path.name


def test_the_drill_that_the_docs_show():
    from eyeline.learn.drill.grading import grade
    from eyeline.learn.drill.questions import find_question

    outcome = grade(find_question(12), "60")
    text = (DOCS / "drill.md").read_text(encoding="utf-8")
    assert outcome.right and f"computed now: {float(outcome.expected):.4g};" in text
    assert outcome.says in text
