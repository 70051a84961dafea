"""What looking costs: tiled attention, blind and with everything observed, against torch's SDPA.

python -m bench.observe [--rounds 9]
"""

import argparse

import torch
import torch.nn.functional as F

import eyeline
from bench._measure import (
    compare,
    extra_memory,
    interleaved,
    peak_gflops,
    peak_growth,
    write_json,
)

EVERYTHING = eyeline.Measure(top_k=8, entropy=True, received=True, pooled=256)
HEADS, LENGTH, WIDTH = 12, 4096, 64


def cases(causal: bool, length: int = LENGTH, heads: int = HEADS) -> dict:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, length, WIDTH) for _ in range(3))
    return {
        "sdpa": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal),
        "tiled": lambda: eyeline.attention(q, k, v, is_causal=causal, impl="tiled"),
        "observed": lambda: eyeline.observe(
            q, k, v, is_causal=causal, impl="tiled", measure=EVERYTHING
        ),
    }


def memory(case: str) -> None:
    """Run one case once in this process and print its peak growth."""
    name, _, length = case.partition(":")
    runs = cases(causal=False, length=int(length), heads=1 if int(length) > LENGTH else HEADS)
    small = cases(causal=False, length=256, heads=1)
    small[name]()  # threads and code pages are not the case's memory
    print(peak_growth(runs[name]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    if options.memory:
        return memory(options.memory)

    peak = peak_gflops()
    result: dict = {"peak_gflops_of_matmul": peak, "shape": [1, HEADS, LENGTH, WIDTH]}
    dense = HEADS * LENGTH**2 * 4
    for causal in (False, True):
        name = "causal" if causal else "full"
        table = compare(interleaved(cases(causal), options.rounds), base="sdpa")
        flops = 4 * HEADS * LENGTH**2 * WIDTH / (2 if causal else 1)
        for case, row in table.items():
            row["share_of_peak"] = flops / row["median_s"] / 1e9 / peak
            print(
                f"{name:7} {case:9} {row['ratio_median']:5.2f} x SDPA (median)  "
                f"{row['ratio_best']:5.2f} (best)  {100 * row['share_of_peak']:3.0f} % of peak"
            )
        result[name] = table
    for case in (f"sdpa:{LENGTH}", f"tiled:{LENGTH}", f"observed:{LENGTH}", "observed:32768"):
        growth = extra_memory("bench.observe", case)
        length = int(case.partition(":")[2])
        whole = dense if length == LENGTH else length**2 * 4
        print(
            f"memory  {case:15} {growth / 1e6:7.1f} MB, {100 * growth / whole:.2f} % of the weights"
        )
        result.setdefault("memory", {})[case] = {"bytes": growth, "share_of_dense": growth / whole}
    print(write_json("observe", result))


if __name__ == "__main__":
    main()
