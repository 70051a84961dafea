"""How observing grows with the text: time per weight and memory per token, one head, width 64.

python -m bench.growth [--rounds 7]

Everything observed: output, log-sum-exp, top-8, entropy, attention received, a 256 × 256 picture.
"""

import argparse
import time

import torch
import torch.nn.functional as F

import eyeline
from bench._measure import extra_memory, interleaved, peak_growth, write_json

EVERYTHING = eyeline.Measure(top_k=8, entropy=True, received=True, pooled=256)
LENGTHS = (2048, 4096, 8192, 16384, 32768)
LONGEST = 131_072


def cases(length: int, causal: bool = False) -> dict:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, length, 64) for _ in range(3))
    return {
        "observed": lambda: eyeline.observe(q, k, v, is_causal=causal, measure=EVERYTHING),
        "blind": lambda: eyeline.attention(q, k, v, is_causal=causal),
        "torch": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal),
    }


def time_per_weight(causal: bool, rounds: int) -> dict[str, dict[int, float]]:
    """Seconds per weight by case and length, in multiples of those at the first length.

    All lengths take turns; short ones run several times, so that each turn lasts about as long.
    """
    runs = {
        f"{name}:{length}": run for length in LENGTHS for name, run in cases(length, causal).items()
    }
    best = {name: min(times) for name, times in interleaved(runs, rounds, at_least=0.2).items()}
    table: dict[str, dict[int, float]] = {}
    for name in cases(8):
        first = best[f"{name}:{LENGTHS[0]}"] / LENGTHS[0] ** 2
        table[name] = {n: best[f"{name}:{n}"] / n**2 / first for n in LENGTHS}
        line = "  ".join(f"{n}: {grown:.2f}" for n, grown in table[name].items())
        print(f"{'causal' if causal else 'full':6}  {name:8}  time per weight  {line}", flush=True)
    return table


def memory() -> dict[str, int]:
    """Bytes of peak memory on top of the inputs."""
    found = {}
    wanted = [f"observed:{n}" for n in (*LENGTHS, LONGEST)] + ["blind:16384", "torch:16384"]
    for case in wanted:
        found[case] = extra_memory("bench.growth", case, rounds=1 if str(LONGEST) in case else 3)
        length = int(case.partition(":")[2])
        per_token = found[case] / length
        print(f"memory  {case:16} {found[case] / 1e6:7.1f} MB = {per_token:6.0f} bytes a token")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    if options.memory:
        name, _, length = options.memory.partition(":")
        cases(1024)[name]()  # threads and code pages are not the case's memory
        return print(peak_growth(cases(int(length))[name]))
    result: dict = {
        "full": time_per_weight(False, options.rounds),
        "causal": time_per_weight(True, options.rounds),
    }
    start = time.perf_counter()
    cases(LONGEST)["observed"]()
    result["longest"] = {"length": LONGEST, "seconds": time.perf_counter() - start}
    print(f"{LONGEST} tokens of one head observed: {result['longest']['seconds']:.1f} s")
    print(write_json("growth", result | {"memory": memory()}))


if __name__ == "__main__":
    main()
