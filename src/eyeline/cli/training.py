"""`eyeline train`: a built-in model, by its recipe."""

from typing import Annotated

import typer

__all__ = ["train"]


def train(
    recipe: Annotated[str, typer.Argument(help="g2p, tiny-bert or tiny-gpt.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="The folder; default: runs/RECIPE.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Fewer (or more) steps than the recipe says.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew instead of going on where a run stopped.")
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Under torchrun: a part of the parameters each (FSDP2).")
    ] = False,
) -> None:
    """Train a built-in model by its recipe; stop it when you like, the same command goes on."""
    import dataclasses
    from pathlib import Path

    from eyeline._errors import EyelineError
    from eyeline.cli._shared import status
    from eyeline.train import RECIPES, publish
    from eyeline.train import train as follow
    from eyeline.view import training

    if recipe not in RECIPES:
        raise EyelineError(f"no recipe {recipe!r}: there are {', '.join(RECIPES)}")
    chosen = RECIPES[recipe](None)
    if steps is not None:
        chosen = RECIPES[recipe](dataclasses.replace(chosen.settings, steps=steps))
    folder = Path(out or f"runs/{recipe}")
    with training.progress() as report:
        run = follow(chosen, folder, resume=not fresh, shard=shard, progress=report)
    with status(f"judging {recipe} by what was held out"):  # g2p: minutes
        results = publish(run, folder / "model")
    if run.processes.first:
        training.show_results(recipe, results, folder / "model")
    run.processes.end()
