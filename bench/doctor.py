"""How well the doctor names mistakes: every one, every two of them, and how long a check takes.

Run as `python -m bench.doctor`. Per kind: mistakes in the catalogue, forms of them that are named,
pairs that stand in different steps and both show, pairs that look right, that look like one
mistake, that are named alone; then the seconds of a check after import.
"""

import statistics
import time
from itertools import groupby

import torch

from bench._measure import write_json
from eyeline.doctor import KINDS, check
from eyeline.doctor._attempt import Answer
from eyeline.doctor._explaining import distinct
from eyeline.doctor._search import Judge
from eyeline.doctor.forging import forge_variant
from eyeline.doctor.options import Options
from eyeline.doctor.recipe import Variant

STATED = {
    "attention": {"mask": "attend", "causal": "bottom-right", "layout": "BHLD"},
    "grouped attention": {"mask": "attend", "causal": "bottom-right", "layout": "BHLD"},
    "multi-head attention": {"mask": "attend", "layout": "BLE"},
    "decoding": {"layout": "BHLD"},
    "block": {"norm_first": True},
    "causal mask": {"mask": "attend", "causal": "bottom-right"},
    "padding mask": {"mask": "attend"},
    "sinusoids": {"pairing": "interleaved"},
    "rotary positions": {"pairing": "halves", "layout": "BHLD"},
}
"""What is stated of the forged candidates, so that mistakes of convention are mistakes."""


def main() -> None:
    torch.set_num_threads(1)
    results = {}
    for what in KINDS:
        results[what] = pairs_of(what)
        print(f"{what}: {results[what]}", flush=True)
    keys = ("pairs", "look right", "look like one mistake", "named alone")
    total = {key: sum(r[key] for r in results.values()) for key in keys}
    whole = total["pairs"] - total["look like one mistake"]
    total["share named alone"] = total["named alone"] / whole
    print(f"all kinds: {total}")
    seconds = timings()
    print(f"seconds of a check: {seconds}")
    write_json("doctor", {"kinds": results, "all": total, "seconds": seconds})


def pairs_of(what: str) -> dict[str, int]:
    """Every two mistakes (one form of each) in the doctor's own cases."""
    judge = _judge(what)
    forms = [next(group) for _, group in groupby(judge.singles, key=lambda v: v.names)]
    visible = [v for v in forms if not judge.invisible(v, None)]
    pairs = list(judge.recipe.doubles(visible))
    count = {"mistakes": len(judge.recipe.mistakes), "visible": len(visible), "pairs": 0}
    count |= {"look right": 0, "look like one mistake": 0, "named alone": 0}
    for pair in pairs:
        answers = _answers(judge, pair)
        if answers is None:  # the shapes of two together cannot be
            continue
        count["pairs"] += 1
        if judge.right(answers, True):
            count["look right"] += 1
        elif judge.explain(answers, True, pairs=False):
            count["look like one mistake"] += 1
        else:
            found = judge.explain(answers, True, pairs=True)
            together, _ = distinct(judge.recipe, [v.mistakes for v in found])
            count["named alone"] += len(together) == 1
    return count


def _judge(what: str) -> Judge:
    kind, candidate = KINDS[what], forge_variant(what, None)
    options = Options(**{k: v for k, v in STATED.get(what, {}).items() if k != "layout"})
    convention = next(iter(kind.conventions(what, candidate, options, kind.recipe)))
    return Judge(kind.recipe, convention.hypotheses[0].cases)


def _answers(judge: Judge, variant: Variant) -> list[Answer] | None:
    answers = []
    for case in judge.cases:
        try:
            with torch.no_grad():
                state = judge.recipe.run(case.inputs, variant.steps)
            answers.append(Answer(getattr(state, judge.recipe.result)))
        except (RuntimeError, ValueError, IndexError, TypeError):
            return None
    return answers


def timings(rounds: int = 7) -> dict[str, float]:
    """Median seconds of processor time: right, one mistake, two, and an unknown one."""

    def right(q, k, v, mask=None):
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return torch.softmax(scores, -1) @ v

    def one(q, k, v, mask=None):
        return right(q * q.shape[-1] ** 0.5, k, v, mask)

    def two(q, k, v, mask=None):
        scores = q @ k.transpose(-2, -1)
        if mask is not None:
            scores = scores.masked_fill(~mask, 0)
        return torch.softmax(scores, -1) @ v

    def unknown(q, k, v, mask=None):
        return right(q * 1.1, k, v, mask)

    heads = torch.nn.MultiheadAttention(12, 3)
    cases = {"right": right, "one mistake": one, "two mistakes": two, "unknown": unknown}
    cases["torch.nn.MultiheadAttention"] = heads
    seconds = {}
    for name, candidate in cases.items():
        check(candidate)
        taken = []
        for _ in range(rounds):
            start = time.process_time()
            check(candidate)
            taken.append(time.process_time() - start)
        seconds[name] = round(statistics.median(taken), 3)
    return seconds


if __name__ == "__main__":
    main()
