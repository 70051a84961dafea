"""Why attention? `python -m bench.why_attention`: what is true of it, measured.

Three claims that are told as one are kept apart: gradients over distance, learning over distance
and length, and load: how much a state of fixed size can hold. Equal parameters, equal steps, three
seeds; learning curves are kept, as "has not learnt it in this budget" is not "cannot"; a run that
makes no mistake any more stops early. JSON goes to bench/results/why_attention.json, the figure to
docs/why_attention.svg.
"""

import argparse
import json
import statistics
import time
from typing import Any

import torch
from torch import nn

from bench._measure import RESULTS, write_json
from bench.why_attention.figure import draw
from bench.why_attention.networks import READERS, count, make
from bench.why_attention.tasks import TASKS, Asked
from eyeline.functional import attention

PARAMETERS = {"copy": 60_000, "recall": 60_000, "g2p": 250_000}
LEARNT = 0.9995
"""Share of right answers at which a run ends before its steps are done."""

LENGTHS = (8, 32, 128, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=(*TASKS, "gradients", "time"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="fewer steps than each task wants, to try it")
    options = parser.parse_args()
    path = RESULTS / "why_attention.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if options.only in (None, "gradients"):
        found["gradients"] = gradients()
    if options.only in (None, "time"):
        found["time"] = times()
    for name in TASKS:
        if options.only in (None, name):
            found[name] = study(name, options.seeds, options.steps)
    path = write_json("why_attention", found)
    if all(name in found for name in (*TASKS, "gradients", "time")):
        print(f"{path} and {draw(found)}")


def study(name: str, seeds: int, steps: int | None) -> dict[str, Any]:
    """Every reader on a task, with every seed."""
    task = TASKS[name]()
    steps = steps or task.steps
    result: dict[str, Any] = {"grows": task.grows, "steps": steps, "batch": task.batch_size}
    for reader in READERS:
        runs = []
        for seed in range(seeds):
            network = make(reader, task.vocabulary, PARAMETERS[name], seed)
            runs.append(learn(network, task, steps, seed))
            shown = "  ".join(f"{n}: {share:.3f}" for n, share in runs[-1]["right"].items())
            print(f"{name}, {reader}, {count(network)} parameters, seed {seed}: right {shown}")
        result[reader] = {"parameters": count(network), "runs": runs}
    return result


def learn(network: nn.Module, task: Any, steps: int, seed: int) -> dict[str, Any]:
    """Train; the curve of what was right on held-out questions, and in the end by size."""
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, betas=(0.9, 0.98))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    questions = list(task.questions())
    curve, begin = [], time.process_time()
    for step in range(steps):
        loss = surprise(network, task.batch(draws))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if (step + 1) % max(steps // 20, 1) == 0:
            curve.append((step + 1, statistics.mean(right(network, a) for _, a in questions)))
            if curve[-1][1] >= LEARNT:
                break
    seconds = time.process_time() - begin
    return {"right": {n: right(network, a) for n, a in questions}, "curve": curve, "cpu_s": seconds}


def written(network: nn.Module, asked: Asked) -> torch.Tensor:
    """Logits, each token given the right ones before it, or what the task gives."""
    if asked.given is not None:
        return network(asked.source, asked.lengths, asked.given)
    before = asked.target.clamp(min=0).roll(1, 1)
    before[:, 0] = 0
    return network(asked.source, asked.lengths, before)


def surprise(network: nn.Module, asked: Asked) -> torch.Tensor:
    """Mean over the tokens that are to be written."""
    logits = written(network, asked)
    return nn.functional.cross_entropy(logits.flatten(0, 1), asked.target.flatten())


@torch.no_grad()
def right(network: nn.Module, asked: Asked) -> float:
    """Share of tokens that are guessed at first, given the right ones before."""
    counted = asked.target >= 0
    said = written(network, asked).argmax(-1)
    return float((said == asked.target)[counted].float().mean())


def gradients() -> dict[str, dict[int, float]]:
    """|∂/∂x₁| of what stands at the end, over |∂/∂x_T|, of networks that have not learnt yet."""
    found: dict[str, dict[int, float]] = {"LSTM": {}, "attention": {}}
    for length in LENGTHS:
        shares: dict[str, list[float]] = {"LSTM": [], "attention": []}
        for seed in range(5):
            torch.manual_seed(seed)
            cell, project = nn.LSTM(64, 64, batch_first=True), nn.Linear(64, 192)
            for name in shares:
                x = torch.randn(1, length, 64, requires_grad=True)
                if name == "LSTM":
                    out = cell(x)[0]
                else:
                    q, k, v = project(x)[:, None].chunk(3, -1)
                    out = attention(q, k, v)[:, 0]
                out[0, -1].sum().backward()
                assert x.grad is not None
                norms = x.grad[0].norm(dim=-1)
                shares[name].append(float(norms[0] / norms[-1]))
        for name, values in shares.items():
            found[name][length] = statistics.median(values)
            print(f"gradient, {name}, {length} tokens: first / last {found[name][length]:.1e}")
    return found


def times(rounds: int = 7) -> dict[str, dict[int, float]]:
    """Seconds, forward and backward, of one layer of 64 over one text."""
    found: dict[str, dict[int, float]] = {"LSTM": {}, "attention": {}}
    cell, project = nn.LSTM(64, 64, batch_first=True), nn.Linear(64, 192)
    for length in (64, 256, 1024, 4096, 16384):
        taken: dict[str, list[float]] = {"LSTM": [], "attention": []}
        x = torch.randn(1, length, 64, requires_grad=True)
        for turn in range(rounds + 1):
            for name in taken:
                begin = time.perf_counter()
                if name == "LSTM":
                    cell(x)[0].sum().backward()
                else:
                    q, k, v = project(x).unflatten(-1, (3, 4, 16)).permute(2, 0, 3, 1, 4)
                    attention(q, k, v, is_causal=True).sum().backward()
                if turn:
                    taken[name].append(time.perf_counter() - begin)
        for name, values in taken.items():
            found[name][length] = statistics.median(values)
        ratio = found["LSTM"][length] / found["attention"][length]
        print(f"time, {length} tokens: LSTM / attention {ratio:.2f}")
    return found


if __name__ == "__main__":
    main()
