"""The figure of `python -m bench.why_attention`."""

import statistics
from pathlib import Path
from typing import Any

from bench.why_attention.networks import READERS

__all__ = ["draw"]

COLOURS = {"LSTM": "#b45309", "LSTM + attention": "#4f46e5", "Transformer": "#0f766e"}
TITLES = {
    "recall": "Load: a key among pairs",
    "copy": "Length: copy a text",
    "g2p": "A real task: letters to sounds",
}


def draw(found: dict[str, Any], path: Path = Path("docs/why_attention.svg")) -> Path:
    """Six panels: what is right by size, learning curves; gradients and time."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "eyeline"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(15, 6.4), layout="constrained")
    for column, (name, title) in enumerate(TITLES.items()):
        task, top, bottom = found[name], axes[0, column], axes[1, column]
        for reader in READERS:
            runs = task[reader]["runs"]
            sizes = [int(n) for n in runs[0]["right"]]
            band(top, sizes, [list(r["right"].values()) for r in runs], reader)
            steps = [s for s, _ in max((r["curve"] for r in runs), key=len)]
            band(bottom, steps, [whole(r["curve"], len(steps)) for r in runs], reader)
        top.set(title=title, xlabel=task["grows"], ylabel="tokens right", ylim=(-0.02, 1.04))
        top.set_xscale("log", base=2)
        top.set_xticks(sizes, [str(n) for n in sizes])
        bottom.set(xlabel="steps", ylabel="tokens right, all sizes", ylim=(-0.02, 1.04))
    axes[0, 0].legend(frameon=False, loc="lower left")
    for axis, name, label in (
        (axes[0, 3], "gradients", "gradient of the first token / of the last"),
        (axes[1, 3], "time", "seconds, forward and backward"),
    ):
        for kind, values in found[name].items():
            colour = COLOURS["LSTM"] if kind == "LSTM" else COLOURS["LSTM + attention"]
            lengths = [int(n) for n in values]
            axis.loglog(lengths, list(values.values()), "o-", color=colour, label=kind)
        axis.set(xlabel="tokens", ylabel=label)
        axis.legend(frameon=False)
    axes[0, 3].set_title("At the start: what reaches token 1")
    axes[1, 3].set_title("What it costs")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def whole(curve: list[tuple[int, float]], count: int) -> list[float]:
    """A curve's values; what stopped early, having learnt it, stays where it was."""
    values = [value for _, value in curve]
    return values + [values[-1]] * (count - len(values))


def band(axis: Any, x: list[int], runs: list[list[float]], reader: str) -> None:
    """The median of the seeds, between the worst and the best."""
    columns = list(zip(*runs, strict=True))
    colour, least, most = COLOURS[reader], [min(c) for c in columns], [max(c) for c in columns]
    middle = [statistics.median(c) for c in columns]
    axis.plot(x, middle, "o-", ms=3, color=colour, label=reader)
    axis.fill_between(x, least, most, color=colour, alpha=0.18, lw=0)
