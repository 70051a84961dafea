"""What a run leaves: the model in Hugging Face layout, and a card that says what it is."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from eyeline.models.own import OwnModel
from eyeline.models.saving import whole_file
from eyeline.train.loop import Run
from eyeline.train.recipe import Result

__all__ = ["CARD", "RESULTS", "publish"]

CARD, RESULTS = "README.md", "results.json"
OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon and AdamW"}


def publish(run: Run, folder: str | Path) -> list[Result]:
    """Judge the averaged parameters, and write them in float16 with tokenizer and card.

    All processes must ask; the first one judges and writes.

    Args:
        run: A run, usually one that is over.
        folder: Where the model goes.

    Returns:
        The table of how well it does.
    """
    folder, recipe = Path(folder), run.recipe
    network = run.averaged()
    if not run.processes.first:
        return []
    with torch.no_grad():
        results = list(recipe.evaluate(network))
    model = OwnModel(recipe.name, network.half(), recipe.tokenizer(), recipe.family, str(folder))
    model.save(folder)
    about = {
        "name": recipe.name,
        "step": run.step,
        "seconds": round(run.seconds),
        "settings": asdict(recipe.settings),
        "results": [result._asdict() for result in results],
        "curve": run.curve,
        "checks": run.checks,
    }
    with whole_file(folder / RESULTS) as path:
        path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    with whole_file(folder / CARD) as path:
        path.write_text(card(run, results), encoding="utf-8")
    return results


def card(run: Run, results: Sequence[Result]) -> str:
    """The model card: what it is, what it was made of, how, and how well it does."""
    recipe, settings = run.recipe, run.recipe.settings
    parameters = sum(p.numel() for p in run.network.parameters())
    lines = [
        f"# {recipe.name}",
        "",
        recipe.card().strip(),
        "",
        "| measured on held-out data | | |",
        "|---|---|---|",
        *(f"| {r.what} | {r.value:.3g} {r.unit} | {r.note} |" for r in results),
        "",
        f"- {parameters / 1e6:.2f} million parameters, float16 here, trained in float32"
        " (products in bfloat16 where the processor has them)",
        f"- data: {recipe.licence}; the weights may be used under Apache-2.0, as eyeline itself",
        f"- recipe: `eyeline train {recipe.name}`, {run.step} steps, seed {settings.seed}, "
        f"{OPTIMIZERS[settings.optimizer]} at {settings.learning_rate}, "
        f"warmup {settings.warmup}, a cosine, weight decay {settings.weight_decay}, "
        f"running average {settings.average}",
        f"- time: {run.seconds / 3600:.1f} hours on a shared processor",
        "",
    ]
    return "\n".join(lines)
