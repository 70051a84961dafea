"""A diagnosis in the terminal: the verdict, the number that proves it, the mistake, the stages."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from eyeline.doctor import Diagnosis, Mistake

__all__ = ["render_diagnosis"]

_SIGNS = {True: Text("ok", "green"), False: Text("wrong", "bold red"), None: Text("-", "dim")}


def render_diagnosis(diagnosis: Diagnosis) -> RenderableType:
    """What was found, the verdict first."""
    parts: list[RenderableType] = [_headline(diagnosis)]
    parts += [Padding(Text(str(evidence)), (0, 0, 0, 2)) for evidence in diagnosis.evidence]
    count = len(diagnosis.explanations)
    for number, together in enumerate(diagnosis.explanations):
        parts.append(Text(""))
        if count > 1:
            title = f"Explanation {number + 1} of {count}: they give the same numbers here"
            parts.append(Text(title, "dim"))
        parts += [_mistake(mistake, diagnosis) for mistake in together]
    parts += [Text(""), _stages(diagnosis)]
    parts += [Text(f"note: {remark}", "dim") for remark in diagnosis.remarks]
    return Group(*parts)


def _headline(diagnosis: Diagnosis) -> Text:
    line = Text(f"{diagnosis.candidate}: ", "bold")
    if diagnosis.ok:
        line.append("right", "bold green")
        return line.append(f" ({diagnosis.what})")
    line.append("wrong", "bold red")
    return line.append(f" ({diagnosis.what}): {diagnosis.name}")


def _mistake(mistake: Mistake, diagnosis: Diagnosis) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 1), title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("mistake", Text(mistake.name, "bold"))
    table.add_row("often written", Text(mistake.seen))
    table.add_row("what one sees", Text(mistake.symptom))
    table.add_row("think", Text(mistake.fix))
    if mistake.source:
        table.add_row("source", Text(mistake.source))
    for other in diagnosis.same.get(mistake.name, ()):
        table.add_row("the same as", Text(f"{other.name}: {other.seen}"))
    return table


def _stages(diagnosis: Diagnosis) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if diagnosis.called:
        called = "; ".join(f"{name}: {how}" for name, how in diagnosis.called.items())
        table.add_row("read as", "", Text(called))
    for stage in diagnosis.stages:
        table.add_row(stage.name, _SIGNS[stage.ok], Text("\n".join(stage.lines)))
    return table
